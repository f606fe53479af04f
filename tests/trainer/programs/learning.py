"""Small models learn on some ranks, by every strategy: what the engine's step does, without its loop."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from core.recipes import parse_spec
from core.recipes.sections.training import TrainingKnobs
from core.run_dir import RunDir, RunFile
from trainer.metrics import Reporter
from trainer.models.gpt import GPT
from trainer.optim import new_optimizer
from trainer.parallel import Ranks, clip_gradient, full_weights, gradient_norm, no_sync, wrap
from trainer.parallel.strategies import chosen_strategy
from trainer.precision import autocast
from trainer.shards import own_part
from trainer.state import Learner, Run
from trainer.stop import StopFlag

ROWS, WIDTH = 16, 8


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.tanh(self.linear(self.norm(x)))


class Stack(nn.Module):
    """Three blocks between two linear layers, one of three outputs: fewer rows than some worlds have ranks."""

    head_names = ("head",)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = nn.Linear(5, WIDTH), nn.ModuleList(Block() for _ in range(3)), nn.Linear(WIDTH, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        y: torch.Tensor = self.head(x)
        return y


def run_of(ranks: Ranks, folder: str | Path, **spec: Any) -> Run:
    """What a rank of a real job has, for a recipe that does not matter."""
    run_dir = RunDir.create(Path(folder))
    run_file = RunFile(job_id="job_of_a_test", attempt=1, spec=parse_spec('{"recipe": "scripted"}').model_copy(update=spec), device="cpu")
    return Run(file=run_file, dir=run_dir, ranks=ranks, stop=StopFlag(), report=Reporter(run_dir, speaks=ranks.is_first))


def curves(ranks: Ranks, folder: str, cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The learning of each case, by its name."""
    run = run_of(ranks, folder)
    return {name: learn(run, **case) for name, case in cases.items()}


def learn(run: Run, *, model: str = "stack", steps: int = 4, head_only: bool = False, **knobs: Any) -> dict[str, Any]:
    """Losses and gradient norms of the whole batch at each step, and the sum over each weight at the end."""
    training = TrainingKnobs(optimizer="adamw", learning_rate=0.01, weight_decay=0.1, **knobs)
    torch.manual_seed(7)
    learning: nn.Module = Stack() if model == "stack" else GPT(vocabulary=13, context=6, num_layers=2, num_heads=4, width=16)
    if head_only:
        for name, parameter in learning.named_parameters():
            parameter.requires_grad_(name.startswith("head"))
    wrapped = wrap(run, training, learning)
    learner = Learner(model=learning, wrapped=wrapped, optimizer=new_optimizer(learning, training))
    history = [step(run, training, learner, number) for number in range(steps)]
    sums = {name: tensor.double().sum().item() for name, tensor in full_weights(learning).items()}
    return {"losses": [loss for loss, _ in history], "norms": [norm for _, norm in history], "sums": sums}


def step(run: Run, knobs: TrainingKnobs, learner: Learner, number: int) -> tuple[float, float]:
    """The mean loss over the whole batch, whoever computed it, and the norm of its gradient before clipping."""
    model = learner.model
    learner.optimizer.zero_grad(set_to_none=True)
    rows = batch_of(model, number)
    share, total = ROWS // run.ranks.data_world // knobs.accumulate, 0.0
    for micro in range(knobs.accumulate):
        first = (run.ranks.data_rank * knobs.accumulate + micro) * share
        with no_sync(learner.wrapped, last=micro == knobs.accumulate - 1):
            with autocast(run.ranks.device, knobs):
                loss = loss_of(learner.wrapped, model, rows[first : first + share])
            (loss / knobs.accumulate).backward()
        total += loss.item() / knobs.accumulate
    norm = gradient_norm(model)
    clip_gradient(model, 0.5, norm)
    learner.optimizer.step()
    return run.ranks.sum([total / run.ranks.data_world])[0], norm.item()


def batch_of(model: nn.Module, number: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.randint(13, (ROWS, 7), generator=generator) if isinstance(model, GPT) else torch.randn(ROWS, 5, generator=generator)


def loss_of(wrapped: nn.Module, model: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    if isinstance(model, GPT):
        return functional.cross_entropy(wrapped(rows[:, :-1]).float().flatten(0, 1), rows[:, 1:].flatten())
    return functional.mse_loss(wrapped(rows).float(), rows.sum(dim=1, keepdim=True).sin())


def choices(ranks: Ranks, folder: str) -> dict[str, Any]:
    """What "auto" comes to for a small and a huge model, and how many weights each rank holds of a sharded one."""
    run = run_of(ranks, folder)
    with torch.device("meta"):
        small, huge = nn.Linear(10, 10), nn.Linear(10_000_000, 10_000_000)
    sharded = wrap(run, TrainingKnobs(strategy="fsdp"), nn.Linear(6, 4))
    return {
        "small": chosen_strategy(run, TrainingKnobs(), small),
        "huge": chosen_strategy(run, TrainingKnobs(), huge),
        "as told": chosen_strategy(run, TrainingKnobs(strategy="ddp"), huge),
        "held": own_part(sharded.weight.detach()).numel(),
        "whole": full_weights(sharded)["weight"].numel(),
    }

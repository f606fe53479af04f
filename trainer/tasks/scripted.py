"""scripted: a tiny real training run that ends the way its spec says; every ending of ``core/recipes/scripted.py``."""

import os
import signal
import sys
import time

import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, Optimizer

from core.manifest import seal
from core.recipes.scripted import ScriptedSpec
from core.run_dir import write_atomically
from trainer.determinism import generator
from trainer.errors import InvalidData
from trainer.state import Learner, Run, Score, State
from trainer.stop import ignore_stop
from trainer.tasks.task import BatchOutcome, EvaluationPlan, Split

NUM_INPUTS, NUM_HIDDEN = 16, 32
BATCH_SIZE = 240  # over all ranks; divides by most numbers of ranks, so that their number does not change the sums
LEARNING_RATE = 0.05
FOREVER_SECONDS = 3600.0


class Scripted:
    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, ScriptedSpec)
        self.script, self.seed, self.ranks = spec.training, spec.seed, run.ranks
        own_attempt = self.script.only_attempts is None or run.file.attempt in self.script.only_attempts
        self.ending = self.script.ending if own_attempt else "ok"
        self.num_epochs = None if self.ending == "never" else 1
        self.steps_per_epoch = self.script.steps
        self.log_every_steps = 1
        self.gradient_clip: float | None = None
        self.evaluation: EvaluationPlan | None = None
        self.leaves_result = self.ending != "no_result"
        if self.script.ignore_sigterm and own_attempt:
            ignore_stop()

    def build_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(NUM_INPUTS, NUM_HIDDEN), nn.ReLU(), nn.Linear(NUM_HIDDEN, 1))

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        return SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)

    def learning_rate(self, step: int) -> float:
        return LEARNING_RATE

    def forward(self, model: nn.Module, state: State) -> BatchOutcome:
        number = state.step + 1
        for line in range(self.script.log_lines):
            print(f"step {number} rank {self.ranks.rank} line {line}")
        sys.stdout.flush()
        time.sleep(self.script.step_seconds)
        inputs, targets = self._batch(state.step)
        loss = functional.mse_loss(model(inputs), targets)
        if number == max(self.script.at_step, 1) and self.ranks.rank == self.script.rank:
            loss = self._misbehave(loss, number)
        return BatchOutcome(loss=loss, num_correct=None, num_samples=len(inputs))

    def _batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """This rank's share of the made-up numbers of one step: (rows, inputs) and (rows, 1)."""
        inputs = torch.randn(BATCH_SIZE, NUM_INPUTS, generator=generator(self.seed, step))
        targets = inputs.sum(dim=1, keepdim=True).sin()
        share = slice(self.ranks.rank, BATCH_SIZE // self.ranks.world_size * self.ranks.world_size, self.ranks.world_size)
        return inputs[share].to(self.ranks.device), targets[share].to(self.ranks.device)

    def _misbehave(self, loss: torch.Tensor, number: int) -> torch.Tensor:
        where = f"at step {number} on rank {self.ranks.rank}, as the script says"
        match self.ending:
            case "raise":
                raise RuntimeError(f"failed {where}")
            case "exit":
                os._exit(self.script.exit_code)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                while True:
                    time.sleep(FOREVER_SECONDS)
            case "out_of_memory":
                raise torch.OutOfMemoryError(f"out of memory {where}")
            case "invalid_data":
                raise InvalidData([f"invalid data {where}"])
            case "nan":
                return loss * float("nan")
        return loss

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        raise NotImplementedError("made-up numbers have no splits")

    def test(self, model: nn.Module) -> dict[str, float]:
        """The loss on numbers that no step has used."""
        with torch.inference_mode():
            inputs, targets = self._batch(-1)
            total = self.ranks.sum([functional.mse_loss(model(inputs), targets, reduction="sum").item(), len(inputs)])
        return {"test_loss": total[0] / total[1]}

    def package(self, run: Run, learner: Learner, state: State, metrics: dict[str, float]) -> None:
        folder = run.dir.artifacts
        config = {"recipe": "scripted", "inputs": NUM_INPUTS, "hidden": NUM_HIDDEN, "outputs": 1, "seed": self.seed}
        write_atomically(folder / "config.json", config)
        write_atomically(folder / "metrics.json", {"step": state.step, **metrics})
        seal(folder, {"recipe": "scripted", "step": state.step})

"""Optimisers: against their formulas and torch's own, who decays, and what a checkpoint brings back."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import init_device_mesh
from torch.nn import functional
from torch.optim import SGD, Adafactor, Adam, AdamW, Muon, Optimizer

from core.recipes.sections.training import OptimizerName, TrainingKnobs
from trainer.checkpoint.optimizer_state import make_memory, memory_numbers, memory_tensors, owner_of, set_numbers
from trainer.optim import OPTIMIZERS, new_optimizer
from trainer.optim.groups import hidden_matrices
from trainer.optim.muon import orthogonalised

RATE, DECAY = 0.02, 0.1


class Reader(nn.Module):
    """One of everything: a table, a norm, linear layers, a convolution, a frozen layer, a table of positions and a tied head."""

    head_names = ("head",)

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.positions = nn.Parameter(torch.randn(6, 8) * 0.1)
        self.norm = nn.LayerNorm(8)
        self.blocks = nn.ModuleList([nn.Linear(8, 12), nn.Linear(12, 8)])
        self.mix = nn.Conv1d(8, 6, 3, padding=1)
        self.frozen = nn.Linear(6, 8).requires_grad_(False)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.words(words) + self.positions)
        x = x + self.blocks[1](torch.relu(self.blocks[0](x)))
        logits: torch.Tensor = self.head(self.frozen(self.mix(x.mT).mT))
        return logits


def knobs(name: OptimizerName, **more: object) -> TrainingKnobs:
    return TrainingKnobs.model_validate({"optimizer": name, "learning_rate": RATE, "weight_decay": DECAY, **more})


def new_reader() -> Reader:
    torch.manual_seed(3)
    return Reader()


def train(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        words = torch.randint(11, (4, 6), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        functional.cross_entropy(model(words).flatten(0, 1), words.roll(1, 1).flatten()).backward()
        optimizer.step()


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def split(model: nn.Module) -> list[dict[str, object]]:
    """The two groups of a plain optimiser, by hand."""
    live = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in live if p.dim() > 1], "weight_decay": DECAY},
        {"params": [p for p in live if p.dim() == 1], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "adafactor"])
def test_it_is_torchs_own(name: OptimizerName) -> None:
    ours, theirs = new_reader(), new_reader()
    reference = {
        "sgd": lambda: SGD(split(theirs), lr=RATE, momentum=0.8, nesterov=True),
        "adam": lambda: Adam(split(theirs), lr=RATE, betas=(0.8, 0.95)),
        "adamw": lambda: AdamW(split(theirs), lr=RATE, betas=(0.8, 0.95)),
        "adafactor": lambda: Adafactor(split(theirs), lr=RATE),
    }[name]()
    train(ours, new_optimizer(ours, knobs(name, momentum=0.8, beta1=0.8, beta2=0.95)), range(5))
    train(theirs, reference, range(5))

    for mine, other in zip(weights(ours), weights(theirs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_lion_by_hand() -> None:
    layer = nn.Linear(3, 2)
    optimizer = new_optimizer(layer, knobs("lion", beta1=0.9, beta2=0.99))
    expected, momentum = layer.weight.detach().double().numpy().copy(), 0.0
    for step in range(4):
        gradient = torch.randn(2, 3, generator=torch.Generator().manual_seed(step))
        layer.weight.grad, layer.bias.grad = gradient.clone(), None
        optimizer.step()
        update = (0.9 * momentum + 0.1 * gradient.double()).sign()
        expected = expected * (1 - RATE * DECAY) - RATE * update.numpy()
        momentum = 0.99 * momentum + 0.01 * gradient.double()

    assert layer.weight.detach().numpy() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (16, 5), (3, 20)])
def test_newton_and_schulz_come_close_to_the_nearest_orthogonal_matrix(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix * 1e-3)

    sizes = torch.linalg.svdvals(found)
    assert sizes.min() > 0.6
    assert sizes.max() < 1.3
    assert functional.cosine_similarity(found.flatten(), (u @ v).flatten(), dim=0) > 0.97
    assert orthogonalised(torch.zeros(shape)).abs().max() == 0.0


def test_muon_is_torchs_muon_on_matrices_and_adamw_elsewhere() -> None:
    """Torch's own computes in bfloat16 everywhere, which is why the tolerance is that of its update and no less."""
    ours, theirs = new_reader(), new_reader()
    matrices = [theirs.blocks[0].weight, theirs.blocks[1].weight]
    others = [p for p in theirs.parameters() if p.requires_grad and all(p is not matrix for matrix in [*matrices, theirs.mix.weight])]
    muon = Muon(matrices, lr=RATE, weight_decay=DECAY, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    adamw = AdamW([{"params": [p], "weight_decay": DECAY if p.dim() > 1 else 0.0} for p in others], lr=RATE)
    optimizer = new_optimizer(ours, knobs("muon"))
    for step in range(3):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            gradient = torch.randn(mine.shape, generator=torch.Generator().manual_seed(step + mine.numel()))
            mine.grad, other.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        muon.step()
        adamw.step()

    for mine, matrix in zip((ours.blocks[0].weight, ours.blocks[1].weight), matrices, strict=True):
        torch.testing.assert_close(mine, matrix, rtol=0, atol=0.05 * RATE)
    for name in ("words.weight", "positions", "norm.weight", "norm.bias", "mix.bias"):
        torch.testing.assert_close(ours.get_parameter(name), theirs.get_parameter(name))


def test_muon_takes_a_convolution_as_a_matrix_of_its_output_channels() -> None:
    convolution = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Linear(2, 2))
    before = convolution[0].weight.detach().clone()
    optimizer = new_optimizer(convolution, knobs("muon", weight_decay=0.0))
    gradient = torch.randn_like(before)
    convolution[0].weight.grad = gradient.clone()
    optimizer.step()

    expected = before - RATE * 0.2 * 27**0.5 * orthogonalised(gradient.flatten(1)).view(before.shape)
    torch.testing.assert_close(convolution[0].weight.detach(), expected, rtol=1e-4, atol=1e-6)


def test_muon_is_for_hidden_matrices_only() -> None:
    reader = new_reader()
    names = {name for name, parameter in reader.named_parameters() if parameter in hidden_matrices(reader)}
    assert names == {"blocks.0.weight", "blocks.1.weight", "mix.weight"}
    plain = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 4))
    assert hidden_matrices(plain) == {plain[0].weight, plain[1].weight}, "the last layer of a model that names no head is its head"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_biases_norms_and_frozen_parameters_do_not_decay(name: OptimizerName) -> None:
    reader = new_reader()
    optimizer = new_optimizer(reader, knobs(name))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}

    for parameter_name, parameter in reader.named_parameters():
        if parameter_name.startswith("frozen"):
            assert id(parameter) not in decay
        else:
            expected = DECAY if parameter.dim() > 1 else 0.0
            assert decay.pop(id(parameter)) == expected, parameter_name
    assert not decay
    assert {group["rate_share"] for group in optimizer.param_groups} == {1.0}
    assert {group["lr"] for group in optimizer.param_groups} == {RATE}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_learns(name: OptimizerName) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    x = torch.randn(64, 4)
    y = x[:, :1] * x[:, 1:2]
    optimizer = new_optimizer(model, knobs(name, learning_rate=0.01 if name != "lion" else 0.003, weight_decay=0.0))
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_stopped_and_restored_optimiser_goes_on_to_the_same_bits(name: OptimizerName) -> None:
    whole = new_reader()
    train(whole, optimizer := new_optimizer(whole, knobs(name)), range(3))
    restored = new_reader()
    saved = deepcopy(memory_tensors(whole, optimizer))
    make_memory(restored, other := new_optimizer(restored, knobs(name)), {owner_of(key) for key in saved})
    for key, tensor in memory_tensors(restored, other).items():
        tensor.copy_(saved[key])
    set_numbers(restored, other, memory_numbers(whole, optimizer))
    restored.load_state_dict(deepcopy(whole.state_dict()))
    train(whole, optimizer, range(3, 6))
    train(restored, other, range(3, 6))

    for mine, theirs in zip(weights(whole), weights(restored), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rate_of_zero_changes_no_weight(name: OptimizerName) -> None:
    """What torch's distributed checkpoints rely on when they make a fresh optimiser's memory; and how one starts under "auto"."""
    reader = new_reader()
    before = weights(reader)
    train(reader, new_optimizer(reader, knobs(name).model_copy(update={"learning_rate": "auto"})), range(2))
    for mine, theirs in zip(weights(reader), before, strict=True):
        assert torch.equal(mine, theirs)


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sharded_parameters_go_the_same_way_and_their_memory_survives_a_distributed_checkpoint(name: OptimizerName) -> None:
    plain, sharded, restored = new_reader(), new_reader(), new_reader()
    mesh = init_device_mesh("cpu", (1,))
    fully_shard(sharded, mesh=mesh)
    fully_shard(restored, mesh=mesh)
    train(plain, new_optimizer(plain, knobs(name)), range(3))
    train(sharded, optimizer := new_optimizer(sharded, knobs(name)), range(3))
    for mine, theirs in zip(weights(plain), weights(sharded), strict=True):
        torch.testing.assert_close(mine, theirs.full_tensor())

    other = new_optimizer(restored, knobs(name))
    memory = get_optimizer_state_dict(sharded, optimizer)
    restored.load_state_dict(deepcopy(sharded.state_dict()))
    set_optimizer_state_dict(restored, other, deepcopy(memory))
    train(sharded, optimizer, range(3, 5))
    train(restored, other, range(3, 5))
    for mine, theirs in zip(weights(sharded), weights(restored), strict=True):
        assert torch.equal(mine.full_tensor(), theirs.full_tensor())

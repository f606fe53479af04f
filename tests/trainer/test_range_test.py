"""The range test: which rate it chooses, that it leaves no trace, and that ranks do not matter. Also: whatever is sharded over ranks
learns with every optimiser and under attack as one rank does."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.recipes.sections.training import OptimizerName, TrainingKnobs
from tests.trainer.launching import Launch, WarmParent
from tests.trainer.on_ranks import OnRanks
from tests.trainer.programs.finding import OPTIMIZERS, Points, everything
from trainer.parallel import Ranks
from trainer.range_test import best_of, find_rate, smoothed
from trainer.trial import gradient_of_step, on_trial

torch.set_num_threads(1)  # many small steps: threads would wait for each other
ALONE = Ranks(rank=0, world_size=1, device=torch.device("cpu"))


class Noisy(nn.Module):
    """Has all that a step could leave behind: statistics, a counter, random draws, a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.stack[0].bias.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.stack(x)
        return y


def points(optimizer: OptimizerName = "adamw", **knobs: object) -> Points:
    return Points(TrainingKnobs.model_validate({"optimizer": optimizer, "batch_size": 32, **knobs}))


def spoil_and_fail(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    raise KeyError


def trained(task: Points, rate: float) -> float:
    """The mean loss of the last of 60 steps at a constant rate."""
    model = task.build_model()
    optimizer = task.build_optimizer(model)
    losses = []
    for step in range(60):
        optimizer.zero_grad()
        total, weight = gradient_of_step(task, model, ALONE, step=step, batch_size=32)
        losses.append(total / weight)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    return sum(losses[-10:]) / 10


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_rate_it_finds_is_better_than_one_far_below_and_than_one_far_above(optimizer: OptimizerName) -> None:
    task = points(optimizer)
    rate = find_rate(task, task.build_model(), ALONE)

    loss, below, above = trained(task, rate), trained(task, rate / 30), trained(task, rate * 1000)
    assert loss < below
    assert not above < loss, "nor is it when it is not even a number"


def test_it_leaves_the_model_and_the_random_states_as_they_were_and_is_the_same_again() -> None:
    task, model = points(), Noisy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    model.eval()
    before, random = {name: tensor.clone() for name, tensor in model.state_dict().items()}, torch.get_rng_state()
    rate = find_rate(task, model, ALONE)

    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert find_rate(task, model, ALONE) == rate


def test_a_trial_that_fails_leaves_no_trace_either() -> None:
    model = Noisy()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(KeyError), on_trial(model, ALONE) as tried:
        spoil_and_fail(tried)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_batch_size_may_be_given_where_the_spec_leaves_it_open() -> None:
    task, open_task = points(), points()
    open_task.knobs = open_task.knobs.model_copy(update={"batch_size": "auto"})
    assert find_rate(open_task, task.build_model(), ALONE, batch_size=32) == find_rate(task, task.build_model(), ALONE)
    with pytest.raises(AssertionError, match="batch size"):
        find_rate(open_task, task.build_model(), ALONE)


RATES = [1e-6 * 1.26**step for step in range(60)]


def place_of(rate: float) -> int:
    return round(math.log(rate / RATES[0], 1.26))


def curve(middle: int, *, lowest: int = 40, num: int = 60) -> list[float]:
    """A loss that falls fastest at ``middle``, and rises after ``lowest``."""
    return [2.0 - math.tanh((step - middle) / 4) + max(step - lowest, 0) * 0.1 for step in range(num)]


def test_the_rate_is_where_the_loss_falls_fastest_with_or_without_noise() -> None:
    noise = torch.randn(60, generator=torch.Generator().manual_seed(0)).tolist()

    assert place_of(best_of(RATES, curve(25, lowest=34))) in (24, 25)
    noisy = [loss + 0.03 * other for loss, other in zip(curve(25, lowest=34), noise, strict=True)]
    assert abs(place_of(best_of(RATES, noisy)) - 25) <= 3


def test_the_first_easy_gain_is_not_all_there_is() -> None:
    two_gains = [first + 0.3 * second for first, second in zip(curve(12, lowest=50), curve(42, lowest=50), strict=True)]
    lowest = min(range(60), key=smoothed(two_gains).__getitem__)
    assert place_of(best_of(RATES, two_gains)) == place_of(RATES[lowest] / 10) > 30


def test_a_recovery_from_an_explosion_is_not_taken_for_learning() -> None:
    exploding = curve(25, lowest=34)
    exploding[45:50], exploding[50:] = [3.0, 6.0, 9.0, 6.0, 3.0], [0.1] * 10
    assert place_of(best_of(RATES, exploding)) in (24, 25)


def test_a_loss_that_only_rises_and_one_that_ends_at_once_give_the_smallest_rate() -> None:
    assert best_of(RATES, [1.0 + 0.1 * step for step in range(30)]) == RATES[0]
    assert best_of(RATES, []) == best_of(RATES, [1.0]) == RATES[0]


def test_smoothing_is_centred_and_keeps_straight_lines() -> None:
    line = [3.0 - 0.1 * step for step in range(20)]
    assert smoothed(line)[4:-4] == pytest.approx(line[4:-4])
    spike = smoothed([0.0] * 10 + [1.0] + [0.0] * 9)
    assert max(range(20), key=spike.__getitem__) == 10
    assert spike[10] == pytest.approx(5 / 25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finding")


@pytest.fixture(scope="module")
def on_one(folder: Path) -> dict[str, Any]:
    return everything(ALONE, str(folder / "one"))


@pytest.fixture(scope="module")
def on_two(folder: Path, warm_parent: WarmParent) -> list[dict[str, Any]]:
    on_ranks = OnRanks(Launch(root=folder, parent=warm_parent))
    return on_ranks("tests.trainer.programs.finding:everything", folder=str(folder / "two"))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_ranks_find_what_one_finds(on_one: dict[str, Any], on_two: list[dict[str, Any]], strategy: str) -> None:
    first, second = on_two
    assert first["found"][strategy] == second["found"][strategy] == on_one["found"][strategy]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_ranks_that_have_looked_learn_to_the_bit_what_they_would_have(on_two: list[dict[str, Any]], strategy: str) -> None:
    for answer in on_two:
        assert answer["looked"][strategy] == answer["learned"][f"{strategy} adamw"]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_ranks_learn_as_one_with_every_optimiser(
    on_one: dict[str, Any], on_two: list[dict[str, Any]], name: str, strategy: str
) -> None:
    case = f"{strategy} {name}"
    assert on_two[0]["learned"][case] == on_two[1]["learned"][case] == pytest.approx(on_one["learned"][case], abs=2e-4)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("method", ["fgsm", "pgd"])
def test_two_ranks_learn_as_one_under_attack(on_one: dict[str, Any], on_two: list[dict[str, Any]], method: str, strategy: str) -> None:
    case = f"{strategy} {method}"
    within = 2e-4 if method == "fgsm" else 2e-3
    assert on_two[0]["attacked"][case] == on_two[1]["attacked"][case] == pytest.approx(on_one["attacked"][case], abs=within)

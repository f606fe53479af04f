"""What fits in memory: counted on CPUs, tried on GPUs (here with a task that runs out of memory at will)."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from core.recipes.sections.training import TrainingKnobs
from tests.trainer.programs.finding import NUM_ROWS, Points
from trainer import batch_finder
from trainer.batch_finder import bytes_kept, find_batch_size, largest_that_fits, power_of_two
from trainer.parallel import Ranks

ALONE = Ranks(rank=0, world_size=1, device=torch.device("cpu"))
MODEL = nn.Sequential(nn.Linear(5, 64), nn.Tanh(), nn.Linear(64, 1))
BYTES_PER_ROW = 4 * (5 + 64 + 2)  # of the input, the tanh's outputs, the differences and their target


def points(*, memory: int = 0, **knobs: object) -> Points:
    task = Points(TrainingKnobs.model_validate(knobs), memory=memory)
    task.knobs = task.knobs.model_copy(update={"batch_size": "auto"})
    return task


def with_memory(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    monkeypatch.setattr(batch_finder.psutil, "virtual_memory", lambda: SimpleNamespace(available=num_bytes))


def on_gpu(monkeypatch: pytest.MonkeyPatch, peaks: dict[int, float]) -> None:
    """Trials in place of counting, with the memory that a GPU would report; 0 where it does not matter."""
    monkeypatch.setattr(batch_finder, "_by_counting", batch_finder._by_trial)
    tried: list[int] = []
    loss = batch_finder._loss

    def noted(task: Any, model: Any, ranks: Any, num_rows: int) -> torch.Tensor:
        tried.append(num_rows)
        return loss(task, model, ranks, num_rows)

    monkeypatch.setattr(batch_finder, "_loss", noted)
    monkeypatch.setattr(batch_finder, "_peak", lambda ranks: peaks.get(tried[-1], 0.0))


def test_powers_of_two() -> None:
    assert [power_of_two(number) for number in (-3, 0, 1, 2, 3, 4, 7, 8, 1023, 1024)] == [1, 1, 1, 2, 2, 4, 4, 8, 512, 1024]


def test_what_the_backward_pass_keeps_is_counted_row_by_row_and_weights_are_not() -> None:
    two, four = (bytes_kept(points(), MODEL, ALONE, num_rows) for num_rows in (2, 4))
    assert four - two == 2 * BYTES_PER_ROW
    assert two == 2 * BYTES_PER_ROW


def test_a_second_pass_at_a_time_takes_twice_the_memory() -> None:
    one, both = bytes_kept(points(), MODEL, ALONE, 4), bytes_kept(points(r_drop=1.0), MODEL, ALONE, 4)
    assert both == pytest.approx(2 * one, rel=0.2)


@pytest.mark.parametrize(("num_rows", "found"), [(7.9, 4), (8.1, 8), (0.1, 1), (1e6, 16)])
def test_on_a_cpu_activations_stay_within_a_quarter_of_the_memory(monkeypatch: pytest.MonkeyPatch, num_rows: float, found: int) -> None:
    with_memory(monkeypatch, int(4 * num_rows * BYTES_PER_ROW))
    assert find_batch_size(points(), MODEL, ALONE) == found


def test_an_epoch_keeps_its_steps_and_a_step_its_micro_batches() -> None:
    assert find_batch_size(points(), MODEL, ALONE) == 16 <= NUM_ROWS / 8
    assert find_batch_size(points(), MODEL, ALONE, most_rows=5) == 4
    assert find_batch_size(points(accumulate=6), MODEL, ALONE) == 2 * 6
    assert find_batch_size(points(accumulate=50), MODEL, ALONE) == 50


@pytest.mark.parametrize(("memory", "found"), [(16, 16), (15, 8), (3, 2), (1, 1), (0, 16)])
def test_on_a_gpu_it_doubles_until_memory_runs_out(monkeypatch: pytest.MonkeyPatch, memory: int, found: int) -> None:
    on_gpu(monkeypatch, {})
    assert find_batch_size(points(memory=memory), MODEL, ALONE) == found


def test_on_a_gpu_it_does_not_try_what_by_growth_cannot_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.2 + 0.1 per row: eight rows would take all of it."""
    on_gpu(monkeypatch, {2: 0.4, 4: 0.6})
    assert find_batch_size(points(), MODEL, ALONE) == 4
    on_gpu(monkeypatch, {2: 0.24, 4: 0.28, 8: 0.36, 16: 0.52})
    assert find_batch_size(points(), MODEL, ALONE) == 16


def test_looking_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    before, random = {name: tensor.clone() for name, tensor in MODEL.state_dict().items()}, torch.get_rng_state()
    find_batch_size(points(), MODEL, ALONE)
    on_gpu(monkeypatch, {})
    find_batch_size(points(memory=6), MODEL, ALONE)
    largest_that_fits(points(memory=6), MODEL, 64, ALONE)

    assert all(torch.equal(tensor, before[name]) for name, tensor in MODEL.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in MODEL.parameters())


@pytest.mark.parametrize(("memory", "accumulate", "fits"), [(9, 1, 8), (9, 4, 32), (64, 1, 32), (1, 1, 1)])
def test_after_memory_ran_out_it_says_what_would_fit(memory: int, accumulate: int, fits: int) -> None:
    assert largest_that_fits(points(memory=memory, accumulate=accumulate), MODEL, 64, ALONE) == fits


def test_it_says_so_when_nothing_fits() -> None:
    class Hungry(Points):
        def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
            raise torch.OutOfMemoryError("not even the optimiser")

    assert largest_that_fits(Hungry(TrainingKnobs()), MODEL, 64, ALONE) == 0

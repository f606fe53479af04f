"""The learning rate against torch's own schedulers, and against its definitions."""

import math

import pytest
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, SequentialLR

from core.recipes.sections.training import ScheduleName, TrainingKnobs
from trainer.schedule import rate

PEAK, NUM_STEPS = 0.4, 50


def rates(num_steps: int | None = NUM_STEPS, *, until: int = NUM_STEPS, steps_per_epoch: int = 10, **knobs: object) -> list[float]:
    training = TrainingKnobs.model_validate(knobs)
    return [rate(training, step, num_steps=num_steps, steps_per_epoch=steps_per_epoch, peak=PEAK) for step in range(until)]


def rates_of(optimizer: SGD, scheduler: LRScheduler) -> list[float]:
    seen = []
    for _ in range(NUM_STEPS):
        seen.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return seen


def new_sgd() -> SGD:
    return SGD(nn.Linear(1, 1).parameters(), lr=PEAK, momentum=0.9)


@pytest.mark.parametrize("share", [0.0, 0.25])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("num_warmup_steps", [0, 1, 10, 49])
def test_it_is_torchs_linear_warm_up_and_fall(num_warmup_steps: int, schedule: ScheduleName, share: float) -> None:
    optimizer, num_down = new_sgd(), NUM_STEPS - num_warmup_steps
    reference: LRScheduler = (
        CosineAnnealingLR(optimizer, T_max=num_down, eta_min=share * PEAK)
        if schedule == "cosine"
        else LinearLR(optimizer, start_factor=1.0, end_factor=share, total_iters=num_down)
    )
    if num_warmup_steps:
        rising = LinearLR(optimizer, start_factor=1 / num_warmup_steps, total_iters=max(num_warmup_steps - 1, 1))
        reference = SequentialLR(optimizer, [rising, reference], milestones=[num_warmup_steps])

    ours = rates(schedule=schedule, warmup_steps=num_warmup_steps, final_rate_share=share)
    assert ours == pytest.approx(rates_of(optimizer, reference), rel=1e-6)


def test_cosine_keeps_its_exact_numbers() -> None:
    """Runs that were stopped under an earlier version go on with the same bits."""
    for step, ours in enumerate(rates(schedule="cosine", warmup_steps=7)):
        exact = PEAK * (step + 1) / 7 if step < 7 else PEAK * 0.5 * (1.0 + math.cos(math.pi * min((step - 7) / 43, 1.0)))
        assert ours == exact


@pytest.mark.parametrize("num_rise", [0, 20])
def test_one_cycle_is_torchs(num_rise: int) -> None:
    optimizer = new_sgd()
    share = num_rise / NUM_STEPS or 0.3
    reference = OneCycleLR(optimizer, PEAK, total_steps=NUM_STEPS, pct_start=share, cycle_momentum=False)
    expected = []
    for step in range(NUM_STEPS):
        expected.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if step < NUM_STEPS - 1:
            reference.step()

    assert rates(schedule="one-cycle", warmup_steps=num_rise) == pytest.approx(expected, rel=1e-6)


def test_one_cycle_ends_at_its_share_with_the_last_step() -> None:
    assert rates(schedule="one-cycle", final_rate_share=0.1)[-1] == pytest.approx(0.1 * PEAK)


def test_wsd_is_stable_and_then_falls_as_one_minus_a_root() -> None:
    ours = rates(schedule="wsd", warmup_epochs=0.5, decay_share=0.2, final_rate_share=0.1)

    assert ours[:5] == pytest.approx([PEAK * n / 5 for n in (1, 2, 3, 4, 5)])
    assert ours[5:41] == [PEAK] * 36
    assert ours[41:] == pytest.approx([PEAK * (0.1 + 0.9 * (1 - math.sqrt(n / 10))) for n in range(1, 10)])


def test_constant_stays_and_so_does_a_run_without_an_end() -> None:
    assert rates(schedule="constant", warmup_steps=2, final_rate_share=0.5) == [PEAK / 2, *[PEAK] * 49]
    assert rates(None, schedule="cosine", warmup_steps=2) == [PEAK / 2, *[PEAK] * 49]


def test_warm_up_steps_come_before_warm_up_epochs() -> None:
    assert rates(schedule="constant", warmup_epochs=3, warmup_steps=0)[0] == PEAK
    assert rates(schedule="constant", warmup_epochs=0.5, steps_per_epoch=4)[:2] == [PEAK / 2, PEAK]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "one-cycle", "wsd"])
@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_the_shortest_runs_have_a_rate(schedule: ScheduleName, num_steps: int) -> None:
    assert all(0 <= each <= PEAK for each in rates(num_steps, until=num_steps + 2, schedule=schedule))
    assert rates(num_steps, until=1, schedule=schedule)[0] > 0


def test_it_stays_at_the_end_after_the_end_and_survives_a_warm_up_longer_than_the_run() -> None:
    assert rates(50, until=61, schedule="cosine")[60] == pytest.approx(0.0)
    assert rates(50, schedule="cosine", warmup_steps=100)[49] == pytest.approx(PEAK / 2)

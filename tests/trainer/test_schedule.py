"""The learning rate against torch's own schedulers."""

import pytest
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from trainer.schedule import warmup_cosine

PEAK, NUM_STEPS = 0.4, 50


@pytest.mark.parametrize("num_warmup_steps", [0, 1, 10, 49])
def test_it_is_torchs_linear_warm_up_and_cosine(num_warmup_steps: int) -> None:
    optimizer = SGD(nn.Linear(1, 1).parameters(), lr=PEAK)
    reference: LRScheduler = CosineAnnealingLR(optimizer, T_max=NUM_STEPS - num_warmup_steps)
    if num_warmup_steps:
        rising = LinearLR(optimizer, start_factor=1 / num_warmup_steps, total_iters=max(num_warmup_steps - 1, 1))
        reference = SequentialLR(optimizer, [rising, reference], milestones=[num_warmup_steps])

    for step in range(NUM_STEPS):
        ours = warmup_cosine(step, peak=PEAK, num_warmup_steps=num_warmup_steps, num_steps=NUM_STEPS)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6), step
        optimizer.step()
        reference.step()


def test_it_stays_at_zero_after_the_end_and_survives_a_warm_up_longer_than_the_run() -> None:
    assert warmup_cosine(60, peak=PEAK, num_warmup_steps=0, num_steps=50) == pytest.approx(0.0)
    assert warmup_cosine(49, peak=PEAK, num_warmup_steps=100, num_steps=50) == pytest.approx(PEAK / 2)

"""The learning rate as a pure function of the step: no state, so nothing to save and nothing to lose."""

import math

from core.recipes.sections.training import TrainingKnobs

ONE_CYCLE_RISE = 0.3  # share of all steps, where the spec gives no warm-up
ONE_CYCLE_START = 1 / 25  # of the peak
ONE_CYCLE_END = 1e-4  # of the start, where final_rate_share is less


def rate(knobs: TrainingKnobs, step: int, *, num_steps: int | None, steps_per_epoch: int, peak: float) -> float:
    """The rate of the optimiser step with this number, counted from 0.

    Rises linearly to ``peak`` over the warm-up; from there the schedule leads down to ``final_rate_share`` of it, which is
    reached one step after the last. (One-cycle has a rise of its own and arrives with the last step.) A run without an end,
    ``num_steps`` None, stays at the peak.
    """
    num_warmup = num_warmup_steps(knobs, steps_per_epoch)
    if num_steps is not None and knobs.schedule == "one-cycle":
        return peak * one_cycle(step, num_rise=num_warmup, num_steps=num_steps, end=knobs.final_rate_share)
    if step < num_warmup:
        return peak * (step + 1) / num_warmup
    if num_steps is None or knobs.schedule == "constant":
        return peak
    start = num_warmup if knobs.schedule != "wsd" else max(num_steps - max(round(knobs.decay_share * num_steps), 1), num_warmup)
    progress = min(max(step - start, 0) / max(num_steps - start, 1), 1.0)
    end = knobs.final_rate_share
    return peak * (end + (1.0 - end) * _fall(knobs.schedule, progress))


def num_warmup_steps(knobs: TrainingKnobs, steps_per_epoch: int) -> int:
    return round(knobs.warmup_epochs * steps_per_epoch) if knobs.warmup_steps is None else knobs.warmup_steps


def _fall(schedule: str, progress: float) -> float:
    """From 1 to 0 as ``progress`` goes from 0 to 1.

    Cosine: Loshchilov & Hutter 2017 (arXiv:1608.03983), without restarts. WSD, warm-up, stable, decay: Hu et al. 2024
    (arXiv:2404.06395), falling as 1 - sqrt, which Haegele et al. 2024 (arXiv:2405.18392) found best.
    """
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    return 1.0 - (math.sqrt(progress) if schedule == "wsd" else progress)


def one_cycle(step: int, *, num_rise: int, num_steps: int, end: float) -> float:
    """The share of the peak: up along half a cosine over ``num_rise`` steps (0: 30 % of all), and down along another.

    Smith & Topin 2017 (arXiv:1708.07120), with the cosines and the outer rates of PyTorch's OneCycleLR.
    """
    top = min(num_rise or ONE_CYCLE_RISE * num_steps, num_steps) - 1
    low, high, progress = ONE_CYCLE_START, 1.0, step / top if top > 0 else 1.0
    if step > top:
        low, high = 1.0, max(end, ONE_CYCLE_START * ONE_CYCLE_END)
        progress = min((step - top) / max(num_steps - 1 - top, 1e-9), 1.0)
    return high + (low - high) * 0.5 * (1.0 + math.cos(math.pi * progress))

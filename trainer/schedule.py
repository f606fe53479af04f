"""The learning rate as a pure function of the step: no state, so nothing to save and nothing to lose."""

import math


def warmup_cosine(step: int, *, peak: float, num_warmup_steps: int, num_steps: int) -> float:
    """The rate of the optimiser step with this number, counted from 0.

    Rises linearly to ``peak`` over the warm-up, then falls along half a cosine towards 0 (Loshchilov & Hutter 2017,
    arXiv:1608.03983, without restarts), which it would reach one step after the last.
    """
    if step < num_warmup_steps:
        return peak * (step + 1) / num_warmup_steps
    progress = (step - num_warmup_steps) / max(num_steps - num_warmup_steps, 1)
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))

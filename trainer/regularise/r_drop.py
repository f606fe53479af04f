"""R-Drop: two passes with different dropout shall say the same (Liang et al. 2021, arXiv:2106.14448)."""

import torch
from torch.nn import functional


def divergence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(KL(p || q) + KL(q || p)) / 2 of the softmax of two (items, classes) logits, the mean over items. Both get gradients."""
    log_p, log_q = functional.log_softmax(first.float(), -1), functional.log_softmax(second.float(), -1)
    # Both divergences in one sum: p log(p/q) + q log(q/p) = (p - q)(log p - log q).
    return 0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1).mean()

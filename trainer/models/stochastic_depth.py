"""Stochastic depth: residual branches that are left out at random while training (Huang et al. 2016, arXiv:1603.09382)."""

import torch
from torch import nn


class StochasticDepth(nn.Module):
    """Sets the branch of each image to 0 with probability ``rate`` and scales the others by 1 / (1 - rate); (N, ...) to the same."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.rate:
            return branch
        keep = 1 - self.rate
        mask = torch.rand([len(branch)] + [1] * (branch.dim() - 1), device=branch.device) < keep
        return branch * mask.to(branch.dtype) / keep

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def rates(last: float, num_blocks: int) -> list[float]:
    """The paper's linear rule: from almost nothing at the first block to ``last`` at the last."""
    return [last * (number + 1) / num_blocks for number in range(num_blocks)]

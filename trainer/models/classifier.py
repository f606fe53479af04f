"""A classifier that takes images as they are stored, so that nobody can forget or repeat the normalisation."""

from collections.abc import Sequence

import torch
from torch import nn


class ImageClassifier(nn.Module):
    """Stored pixels, (N, H, W) for grey or (N, H, W, C), to (N, K) logits. Mean and deviation, per channel, are part of the weights."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, net: nn.Module, *, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float32))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.dim() == 4 and images.shape[3] == 1:
            images = images.squeeze(3)
        scaled = (images.to(torch.float32) - self.mean) / self.deviation
        # Not one permute for both: with one channel its strides pass for channels-last, and convolutions would take the slow way.
        planes = scaled.unsqueeze(1) if images.dim() == 3 else scaled.permute(0, 3, 1, 2).contiguous()
        logits: torch.Tensor = self.net(planes)
        return logits

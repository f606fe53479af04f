"""A classifier that takes images as they are stored, so that nobody can forget or repeat the normalisation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from trainer.models import build as build_net


class ImageClassifier(nn.Module):
    """Stored pixels, (N, H, W) for grey or (N, H, W, C), to (N, K) logits. Mean and deviation, per channel, are part of the weights.

    Floats are planes that were normalised before, (N, C, H, W): blended images and those that an attack has moved.
    ``mirrored``: outside training an answer is the mean of those for the image and for its mirror image (left for right).
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    head_names = ("net.head",)

    def __init__(self, net: nn.Module, *, mean: Sequence[float], deviation: Sequence[float], mirrored: bool = False) -> None:
        super().__init__()
        self.net = net
        self.mirrored = mirrored
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float32))

    @property
    def blocks(self) -> nn.Sequential:
        """The repeated blocks of the network, the input's side first."""
        blocks = self.net.blocks
        assert isinstance(blocks, nn.Sequential)
        return blocks

    @property
    def lora_targets(self) -> tuple[str, ...]:
        return tuple(getattr(self.net, "lora_targets", ()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        planes = images if images.is_floating_point() else self.normalise(images)
        logits: torch.Tensor = self.net(planes)
        if self.mirrored and not self.training:
            logits = (logits + self.net(planes.flip(3))) / 2
        return logits

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Stored pixels to planes, (N, C, H, W)."""
        if images.dim() == 4 and images.shape[3] == 1:
            images = images.squeeze(3)
        scaled = (images.to(torch.float32) - self.mean) / self.deviation
        # Not one permute for both: with one channel its strides pass for channels-last, and convolutions would take the slow way.
        return scaled.unsqueeze(1) if images.dim() == 3 else scaled.permute(0, 3, 1, 2).contiguous()


def build(*, net: dict[str, Any], mean: Sequence[float], deviation: Sequence[float], mirrored: bool = False) -> ImageClassifier:
    """``net`` is an architecture of its own, ``{"family": ...}``."""
    return ImageClassifier(build_net(net), mean=mean, deviation=deviation, mirrored=mirrored)

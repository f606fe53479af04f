"""RandAugment: Cubuk et al. 2019 (arXiv:1909.13719). A few of 14 operations, all of one strength, on each image.

Images are planes, (N, C, H, W) floats from 0 to 1. One operation is applied to all images of a batch that drew it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional

from trainer.data.augment import luma

MAX_MAGNITUDE = 30.0
NUM_LEVELS = 256

# (images, strength from 0 to 1, sign per image, (N, 1, 1, 1)) -> images
Operation = Callable[[torch.Tensor, float, torch.Tensor], torch.Tensor]


class Drawn(NamedTuple):
    """What each image gets in each round: numbers of operations, (rounds, N), and a random sign, -1 or 1, of the same shape."""

    operations: torch.Tensor
    signs: torch.Tensor


def rand_augment(planes: torch.Tensor, drawn: Drawn, *, magnitude: float) -> torch.Tensor:
    strength = magnitude / MAX_MAGNITUDE
    for chosen, signs in zip(drawn.operations, drawn.signs, strict=True):
        result = planes.clone()
        for number, operation in enumerate(OPERATIONS.values()):
            rows = (chosen == number).nonzero().flatten()
            if len(rows):
                result[rows] = operation(planes[rows], strength, signs[rows].view(-1, 1, 1, 1)).clamp(0, 1)
        planes = result
    return planes


def identity(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    return planes


def auto_contrast(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    """Stretches each channel to 0 .. 1."""
    low, high = planes.amin(dim=(2, 3), keepdim=True), planes.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (planes - low) / (high - low).clamp_min(1e-6), planes)


def equalize(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    """Makes all values of a channel about equally frequent: each becomes the share of pixels that are not brighter."""
    levels = (planes * (NUM_LEVELS - 1)).round().long().flatten(2)
    counts = torch.zeros(*levels.shape[:2], NUM_LEVELS, device=planes.device).scatter_add_(
        2, levels, torch.ones_like(levels, dtype=torch.float32)
    )
    below = counts.cumsum(2)
    lowest = below.gather(2, levels.amin(2, keepdim=True))
    spread = levels.shape[2] - lowest
    equal = (below.gather(2, levels) - lowest) / spread.clamp_min(1)
    return torch.where(spread > 0, equal, planes.flatten(2)).view_as(planes)


def posterize(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    """Keeps eight to four bits of each value."""
    step = 2.0 ** round(4 * strength)
    return (planes * (NUM_LEVELS - 1) / step).floor() * step / (NUM_LEVELS - 1)


def solarize(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    """Inverts what is brighter than a threshold, which falls with the strength."""
    return torch.where(planes >= 1 - strength, 1 - planes, planes)


def colour(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    return _away_from(luma(planes).expand_as(planes), planes, strength, sign)


def contrast(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    return _away_from(luma(planes).mean(dim=(2, 3), keepdim=True).expand_as(planes), planes, strength, sign)


def brightness(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    return _away_from(torch.zeros_like(planes), planes, strength, sign)


def sharpness(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    """Away from, or towards, a version that Pillow's 3x3 filter has smoothed; the border stays as it is."""
    kernel = torch.tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]], device=planes.device) / 13
    channels = planes.shape[1]
    inner = functional.conv2d(planes, kernel.expand(channels, 1, 3, 3), groups=channels)
    smooth = planes.clone()
    smooth[:, :, 1:-1, 1:-1] = inner
    return _away_from(smooth, planes, strength, sign)


def _away_from(dull: torch.Tensor, planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    """Blends with a factor of 1 +- 0.9: towards ``dull`` or beyond the image."""
    return dull + (planes - dull) * (1 + 0.9 * strength * sign)


def rotate(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    """By up to 30 degrees around the middle."""
    angle = math.radians(30) * strength * sign.flatten()
    height, width = planes.shape[2:]
    # Grid coordinates run from -1 to 1 along both sides, whatever their lengths: rotation must undo that.
    sine, cosine = angle.sin(), angle.cos()
    return _moved(planes, [cosine, -sine * height / width, sine * width / height, cosine])


def shear_x(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    amount = 0.3 * strength * sign.flatten()
    return _moved(
        planes, [torch.ones_like(amount), amount * planes.shape[2] / planes.shape[3], torch.zeros_like(amount), torch.ones_like(amount)]
    )


def shear_y(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    amount = 0.3 * strength * sign.flatten()
    return _moved(
        planes, [torch.ones_like(amount), torch.zeros_like(amount), amount * planes.shape[3] / planes.shape[2], torch.ones_like(amount)]
    )


def translate_x(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    """By up to 45 % of the width, as the paper's 10 of 32 pixels at a third of the strength suggest."""
    return _moved(planes, None, right=0.9 * strength * sign.flatten())


def translate_y(planes: torch.Tensor, strength: float, sign: torch.Tensor) -> torch.Tensor:
    return _moved(planes, None, down=0.9 * strength * sign.flatten())


def _moved(
    planes: torch.Tensor, matrix: list[torch.Tensor] | None, *, right: torch.Tensor | None = None, down: torch.Tensor | None = None
) -> torch.Tensor:
    """Every pixel from where ``matrix`` (row by row) says, in coordinates from -1 to 1; what comes from outside is 0."""
    one, zero = torch.ones(len(planes), device=planes.device), torch.zeros(len(planes), device=planes.device)
    a, b, c, d = matrix if matrix is not None else [one, zero, zero, one]
    theta = torch.stack([a, b, right if right is not None else zero, c, d, down if down is not None else zero], dim=1)
    grid = functional.affine_grid(theta.view(-1, 2, 3), list(planes.shape), align_corners=False)
    return functional.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


OPERATIONS: dict[str, Operation] = {
    "identity": identity,
    "auto contrast": auto_contrast,
    "equalize": equalize,
    "rotate": rotate,
    "solarize": solarize,
    "colour": colour,
    "posterize": posterize,
    "contrast": contrast,
    "brightness": brightness,
    "sharpness": sharpness,
    "shear x": shear_x,
    "shear y": shear_y,
    "translate x": translate_x,
    "translate y": translate_y,
}

"""Augmentation of training images that keeps a label: shifts, mirroring, colour jitter, cut-out squares, crops.

What an image is put through is drawn from (seed, epoch, step, row) alone: no state, no order, no rank.
Images are (N, H, W, C) bytes as they are stored.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from trainer.determinism import mix

Words = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
_AUGMENT_STREAM = 0xA6


def draws(rows: Rows, *, seed: int, epoch: int, step: int = 0, stream: int = 0) -> Words:
    """64 random bits for each row (SplitMix64, Steele et al. 2014, over a base that everything else decides)."""
    words = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(mix(seed, _AUGMENT_STREAM, epoch, step, stream))
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return words ^ words >> np.uint64(31)


def uniform(words: Words) -> torch.Tensor:
    """(N,) numbers from 0 to 1, 1 excluded: the upper 24 bits, which a float32 holds exactly."""
    return torch.from_numpy((words >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24))


def shift_and_flip(images: torch.Tensor, words: Words, *, max_shift: int, flip: bool) -> torch.Tensor:
    """Moves each image by up to ``max_shift`` pixels along both axes; what comes in at the border is 0."""
    if not max_shift and not flip:
        return images
    device, (num, height, width, channels) = images.device, images.shape
    span = np.uint64(2 * max_shift + 1)
    down = torch.from_numpy((words % span).astype(np.int64)).to(device)
    right = torch.from_numpy((words // span % span).astype(np.int64)).to(device)
    lines = torch.arange(height, device=device) + down[:, None]
    columns = torch.arange(width, device=device).expand(num, width)
    if flip:
        mirrored = torch.from_numpy((words >> np.uint64(63)).astype(bool)).to(device)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    columns = columns + right[:, None]
    padded = functional.pad(images, (0, 0, max_shift, max_shift, max_shift, max_shift))
    return _at(padded, lines, columns).view(num, height, width, channels)


def crop(images: torch.Tensor, words: Words, *, height: int, width: int) -> torch.Tensor:
    """A part of that size of each image, anywhere in it."""
    device = images.device
    down, right = np.uint64(images.shape[1] - height + 1), np.uint64(images.shape[2] - width + 1)
    lines = torch.arange(height, device=device) + torch.from_numpy((words % down).astype(np.int64)).to(device)[:, None]
    columns = torch.arange(width, device=device) + torch.from_numpy((words // down % right).astype(np.int64)).to(device)[:, None]
    return _at(images, lines, columns).view(len(images), height, width, images.shape[3])


def _at(images: torch.Tensor, lines: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The pixels at every crossing of each image's own ``lines`` (N, h) and ``columns`` (N, w); one flat look-up is the fastest."""
    num, height, width, channels = images.shape
    first = torch.arange(num, device=images.device)[:, None, None] * (height * width)
    index = first + lines[:, :, None] * width + columns[:, None, :]
    return images.reshape(num * height * width, channels).index_select(0, index.flatten())


def shrink(images: torch.Tensor, *, height: int, width: int) -> torch.Tensor:
    """All of each image on fewer pixels."""
    planes = images.permute(0, 3, 1, 2).to(torch.float32)
    small = functional.interpolate(planes, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    return small.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def cut_out(images: torch.Tensor, words: Words, *, side: int) -> torch.Tensor:
    """Sets a square to 0 whose centre is anywhere in the image; at the border it is smaller (DeVries and Taylor 2017, arXiv:1708.04552)."""
    if not side:
        return images
    _, height, width, _ = images.shape
    centre_line = torch.from_numpy((words % np.uint64(height)).astype(np.int64)).to(images.device)
    centre_column = torch.from_numpy((words // np.uint64(height) % np.uint64(width)).astype(np.int64)).to(images.device)
    rows = _inside(height, centre_line - side // 2, side)
    columns = _inside(width, centre_column - side // 2, side)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[..., None], 0)


def _inside(length: int, start: torch.Tensor, side: int) -> torch.Tensor:
    """(N, length): which positions lie in ``start`` .. ``start + side - 1``."""
    positions = torch.arange(length, device=start.device)
    return (positions >= start[:, None]) & (positions < start[:, None] + side)


def jitter(images: torch.Tensor, factors: torch.Tensor, *, white: int) -> torch.Tensor:
    """Brightness, contrast and saturation times ``factors``, (N, 3), in this order; ``white`` is the largest value a pixel may have."""
    planes = images.permute(0, 3, 1, 2).to(torch.float32) / white
    brightness, contrast, saturation = (factors[:, i].to(images.device).view(-1, 1, 1, 1) for i in range(3))
    planes = (planes * brightness).clamp_(0, 1)
    mean = luma(planes).mean(dim=(2, 3), keepdim=True)
    planes = (mean + (planes - mean) * contrast).clamp_(0, 1)
    if planes.shape[1] == 3:
        grey = luma(planes)
        planes = (grey + (planes - grey) * saturation).clamp_(0, 1)
    return (planes * white).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def luma(planes: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) to (N, 1, H, W): how bright, by ITU-R BT.601 for three channels."""
    if planes.shape[1] != 3:
        return planes.mean(dim=1, keepdim=True)
    weights = torch.tensor([0.299, 0.587, 0.114], device=planes.device).view(1, 3, 1, 1)
    return (planes * weights).sum(dim=1, keepdim=True)

"""Random shifts and mirroring of training images, drawn from (seed, epoch, row) alone: no state, no order, no rank."""

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from trainer.determinism import mix

Words = npt.NDArray[np.uint64]
_AUGMENT_STREAM = 0xA6


def draws(rows: npt.NDArray[np.int64], *, seed: int, epoch: int) -> Words:
    """64 random bits for each row (SplitMix64, Steele et al. 2014, over a base that seed and epoch decide)."""
    words = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(mix(seed, _AUGMENT_STREAM, epoch))
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return words ^ words >> np.uint64(31)


def shift_and_flip(images: torch.Tensor, words: Words, *, max_shift: int, flip: bool) -> torch.Tensor:
    """Moves each image of (N, H, W, C) by up to ``max_shift`` pixels along both axes; what comes in at the border is 0."""
    if not max_shift and not flip:
        return images
    device, (num, height, width, _) = images.device, images.shape
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
    which = torch.arange(num, device=device)
    return padded[which[:, None, None], lines[:, :, None], columns[:, None, :]]

"""Augmentation that blends two images and their labels: mixup (Zhang et al. 2017, arXiv:1710.09412), CutMix (Yun et al. 2019,
arXiv:1905.04899). Each image's partner is the one at its place in a random order of the batch.
"""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Mixed:
    """``share`` (N,) of each image is its own label's, the rest that of ``partners`` (N,), positions in the batch."""

    images: torch.Tensor
    partners: torch.Tensor
    share: torch.Tensor


def mix_up(planes: torch.Tensor, random: np.random.Generator, alpha: float) -> Mixed:
    """Weighted means of pairs of float images, (N, C, H, W), with weights from Beta(alpha, alpha)."""
    num = len(planes)
    partners = torch.from_numpy(random.permutation(num)).to(planes.device)
    share = torch.from_numpy(random.beta(alpha, alpha, num).astype(np.float32)).to(planes.device)
    weights = share.view(-1, 1, 1, 1)
    return Mixed(planes * weights + planes[partners] * (1 - weights), partners, share)


def cut_mix(images: torch.Tensor, random: np.random.Generator, alpha: float) -> Mixed:
    """Pastes a rectangle of the partner into each stored image, (N, H, W, C), at the same place; its area is 1 - Beta(alpha, alpha)."""
    num, height, width, _ = images.shape
    partners = torch.from_numpy(random.permutation(num)).to(images.device)
    side = np.sqrt(1 - random.beta(alpha, alpha, num))
    top, bottom = _span(height, random.integers(0, height, num), side)
    left, right = _span(width, random.integers(0, width, num), side)
    lines, columns = np.arange(height), np.arange(width)
    rows = (lines >= top[:, None]) & (lines < bottom[:, None])
    across = (columns >= left[:, None]) & (columns < right[:, None])
    mask = torch.from_numpy(rows[:, :, None] & across[:, None, :]).to(images.device)
    share = 1 - (bottom - top) * (right - left) / (height * width)
    mixed = torch.where(mask[..., None], images[partners], images)
    return Mixed(mixed, partners, torch.from_numpy(share.astype(np.float32)).to(images.device))


def _span(length: int, centre: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and behind-last position of a stretch around ``centre`` that takes ``side`` of the length, cut at the borders."""
    reach = (side * length).astype(np.int64)
    start = centre - reach // 2
    return np.clip(start, 0, length), np.clip(start + reach, 0, length)

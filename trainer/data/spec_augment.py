"""Augmentation of features, drawn from (seed, epoch, utterance) alone: masks, and white noise.

T frames, B bands.
"""

import math
from dataclasses import dataclass

import torch

from trainer.determinism import generator

_AUGMENT_STREAM = 0x5BEC
NOISE_RANGE = 30.0  # decibels between the loudest noise and the faintest


@dataclass(frozen=True, slots=True)
class Masks:
    """SpecAugment (Park et al. 2019, arXiv:1904.08779) without time warping; shares are of all bands and of the utterance."""

    num_bands: int
    band_share: float
    num_times: int
    time_share: float

    def hide(self, features: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        """(T, B) normalised features: what a mask covers becomes 0, their mean."""
        hidden = features.clone()
        for axis, num, share in ((1, self.num_bands, self.band_share), (0, self.num_times, self.time_share)):
            size = features.shape[axis]
            for _ in range(num):
                width, place = torch.rand(2, generator=draws).tolist()
                length = int(width * (share * size + 1))
                hidden.narrow(axis, int(place * (size - length + 1)), min(length, size)).zero_()
        return hidden


def draws_of(row: int, *, seed: int, epoch: int) -> torch.Generator:
    return generator(seed, _AUGMENT_STREAM, epoch, row)


def add_noise(features: torch.Tensor, widths: torch.Tensor, draws: torch.Generator, *, least_snr: float) -> torch.Tensor:
    """(T, B) logarithms of energies with those of white noise added: as strong in each band as it is wide (``widths``, (B,)).

    Speech is ``least_snr`` to 30 more decibels above it, over the whole utterance. The energy of Gaussian noise in one
    frequency of one frame is exponentially distributed, in a band of several closer to its mean: a gamma distribution.
    """
    snr = least_snr + NOISE_RANGE * torch.rand((), generator=draws).item()
    energies = features.exp()
    level = energies.sum(1).mean() / widths.sum() * math.exp(-snr * math.log(10) / 10)
    shapes = widths.clamp(min=1.0).expand_as(features)
    gaussian = torch.randn(features.shape, generator=draws)
    # Wilson and Hilferty 1931: the cube root of a gamma variable is nearly normal.
    spread = (1 - 1 / (9 * shapes) + gaussian / (3 * shapes.sqrt())).clamp(min=0) ** 3
    return (energies + level * widths * spread).clamp(min=1e-10).log()

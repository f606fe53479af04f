"""Logarithms of energies in mel bands: what a recogniser hears.

L samples, T frames, B bands.
"""

import math
from functools import lru_cache

import torch

WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.010
LOWEST_HZ = 20.0
FLOOR = 1e-10  # energy that silence has


def log_mel(wave: torch.Tensor, *, rate: int, num_mels: int) -> torch.Tensor:
    """(L,) samples at ``rate`` Hz to (T, B) natural logarithms; frame t is centred at t * 10 ms, T = 1 + L // hop.

    Each frame is weighted by a Hann window of 25 ms; outside of the recording is silence.
    """
    window, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
    padded = torch.nn.functional.pad(wave, (window // 2, window - window // 2))
    frames = padded.unfold(0, window, hop)[: 1 + len(wave) // hop] * _hann(window)
    spectrum = torch.fft.rfft(frames, n=size_of_transform(window))
    power = spectrum.real**2 + spectrum.imag**2
    energies: torch.Tensor = power @ mel_filters(rate, size_of_transform(window), num_mels)
    return energies.clamp(min=FLOOR).log()


def size_of_transform(window: int) -> int:
    """The next power of two."""
    return 1 << (window - 1).bit_length()


@lru_cache(maxsize=8)
def mel_filters(rate: int, num_points: int, num_mels: int) -> torch.Tensor:
    """(num_points / 2 + 1, B): triangles that touch at their feet, equally wide in mel, between 20 Hz and half the rate.

    A triangle too narrow to hold any frequency of the transform gets the nearest one.
    """
    edges = mel_to_hz(torch.linspace(hz_to_mel(LOWEST_HZ), hz_to_mel(rate / 2), num_mels + 2, dtype=torch.float64))
    hz = torch.arange(num_points // 2 + 1, dtype=torch.float64)[:, None] * rate / num_points
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0)
    for band in (filters.sum(0) == 0).nonzero().flatten().tolist():
        filters[int((hz[:, 0] - edges[band + 1]).abs().argmin()), band] = 1.0
    return filters.float()


def hz_to_mel(hz: float) -> float:
    """O'Shaughnessy 1987, as in HTK."""
    return 2595.0 * math.log10(1.0 + hz / 700.0)


def mel_to_hz(mel: torch.Tensor) -> torch.Tensor:
    hz: torch.Tensor = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return hz


@lru_cache(maxsize=8)
def _hann(window: int) -> torch.Tensor:
    return torch.hann_window(window)

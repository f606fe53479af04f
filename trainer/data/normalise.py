"""Mean and deviation of pixels, per channel. Exact: sums of bytes are integers, so no order and no chunk size changes them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.data.folder import ImageFolder

CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Normalisation:
    """``white`` is the largest value of any pixel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    white: int = 255


def fit_normalisation(data: ImageFolder, rows: npt.NDArray[np.int64]) -> Normalisation:
    """Over the pixels of ``rows``, which must be those of the training split alone. A channel that never changes gets deviation 1."""
    total = np.zeros(data.num_channels, dtype=np.int64)
    squares = np.zeros_like(total)
    white = 1
    num_pixels = len(rows) * data.images.shape[1] * data.images.shape[2]
    for start in range(0, len(rows), CHUNK_ROWS):
        pixels = data.images[rows[start : start + CHUNK_ROWS]].reshape(-1, data.num_channels)
        white = max(white, int(pixels.max(initial=0)))
        total += pixels.sum(axis=0, dtype=np.int64)
        squares += np.square(pixels, dtype=np.int64).sum(axis=0)
    mean = total / num_pixels
    deviation = np.sqrt(np.maximum(squares / num_pixels - mean**2, 0.0))
    spread = np.where(deviation > 0, deviation, 1.0)
    return Normalisation(mean=tuple(mean.tolist()), deviation=tuple(spread.tolist()), white=white)

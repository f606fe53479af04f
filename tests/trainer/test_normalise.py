"""Normalisation is fitted on the training split alone, exactly."""

import numpy as np
import pytest

from trainer.data import normalise
from trainer.data.folder import ImageFolder
from trainer.data.normalise import fit_normalisation

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 7, 5, 3)).astype(np.uint8)


def folder(images: np.ndarray) -> ImageFolder:
    return ImageFolder(images=images, labels=np.zeros(len(images), dtype=np.int64), classes=("a", "b"))


def test_mean_and_deviation_are_those_of_the_given_rows() -> None:
    rows = np.arange(0, 40, 2)

    found = fit_normalisation(folder(IMAGES), rows)

    assert np.allclose(found.mean, IMAGES[rows].mean(axis=(0, 1, 2)))
    assert np.allclose(found.deviation, IMAGES[rows].std(axis=(0, 1, 2)))


def test_rows_of_other_splits_have_no_influence() -> None:
    rows, other = np.arange(20), IMAGES.copy()
    other[20:] = 255

    assert fit_normalisation(folder(other), rows) == fit_normalisation(folder(IMAGES), rows)


def test_the_size_of_a_chunk_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_normalisation(folder(IMAGES), np.arange(40))
    monkeypatch.setattr(normalise, "CHUNK_ROWS", 7)

    assert fit_normalisation(folder(IMAGES), np.arange(40)) == whole


def test_grey_images_have_one_channel_and_a_constant_one_does_not_divide_by_zero() -> None:
    found = fit_normalisation(folder(np.full((4, 5, 5), 9, dtype=np.uint8)), np.arange(4))

    assert (found.mean, found.deviation) == ((9.0,), (1.0,))

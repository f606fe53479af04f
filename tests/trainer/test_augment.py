"""Shifts and flips: exact pixels, and a pure function of (seed, epoch, row)."""

import numpy as np
import pytest
import torch

from trainer.data.augment import draws, shift_and_flip

IMAGES = torch.arange(4 * 5 * 6 * 2, dtype=torch.uint8).reshape(4, 5, 6, 2)


def by_hand(image: torch.Tensor, down: int, right: int, mirrored: bool) -> torch.Tensor:
    height, width, _ = image.shape
    moved = torch.zeros_like(image)
    for line in range(height):
        for column in range(width):
            from_line, from_column = line + down, (width - 1 - column if mirrored else column) + right
            if 0 <= from_line < height and 0 <= from_column < width:
                moved[line, column] = image[from_line, from_column]
    return moved


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("max_shift", [0, 1, 3])
def test_every_pixel_is_where_the_draw_says(max_shift: int, flip: bool) -> None:
    words = draws(np.arange(4), seed=1, epoch=2)

    found = shift_and_flip(IMAGES, words, max_shift=max_shift, flip=flip)

    span = 2 * max_shift + 1
    for image, word, moved in zip(IMAGES, words.tolist(), found, strict=True):
        down, right = word % span - max_shift, word // span % span - max_shift
        assert torch.equal(moved, by_hand(image, down, right, flip and word >> 63 == 1))


def test_without_shift_and_flip_images_stay_as_they_are() -> None:
    assert shift_and_flip(IMAGES, draws(np.arange(4), seed=0, epoch=0), max_shift=0, flip=False) is IMAGES


def test_a_row_draws_the_same_in_any_company_and_anew_in_every_epoch() -> None:
    alone, together = draws(np.array([17]), seed=0, epoch=3), draws(np.arange(100), seed=0, epoch=3)

    assert alone[0] == together[17]
    assert draws(np.array([17]), seed=0, epoch=4)[0] != alone[0]
    assert draws(np.array([17]), seed=1, epoch=3)[0] != alone[0]


def test_draws_are_spread_evenly() -> None:
    shifts = draws(np.arange(30_000), seed=0, epoch=0) % np.uint64(3)

    assert np.abs(np.bincount(shifts.astype(np.int64)) / 10_000 - 1).max() < 0.03

"""Augmentation that keeps labels: exact pixels, and a pure function of (seed, epoch, step, row)."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from trainer.data.augment import crop, cut_out, draws, jitter, shift_and_flip, shrink, uniform

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
    assert draws(np.array([17]), seed=0, epoch=3, step=1)[0] != alone[0]
    assert draws(np.array([17]), seed=0, epoch=3, stream=1)[0] != alone[0]


def test_draws_are_spread_evenly() -> None:
    shifts = draws(np.arange(30_000), seed=0, epoch=0) % np.uint64(3)

    assert np.abs(np.bincount(shifts.astype(np.int64)) / 10_000 - 1).max() < 0.03


def test_uniform_numbers_fill_zero_to_one() -> None:
    numbers = uniform(draws(np.arange(20_000), seed=0, epoch=0))

    assert numbers.dtype == torch.float32
    assert 0 <= numbers.min() < 0.001
    assert 0.999 < numbers.max() < 1
    assert numbers.mean().item() == pytest.approx(0.5, abs=0.01)


def test_a_crop_is_a_part_of_its_image_and_comes_from_everywhere() -> None:
    images = torch.arange(1000 * 5 * 6, dtype=torch.int32).remainder(251).to(torch.uint8).reshape(1000, 5, 6, 1)
    words = draws(np.arange(1000), seed=0, epoch=0)

    parts = crop(images, words, height=3, width=4)

    places = [(int(word) % 3, int(word) // 3 % 3) for word in words]
    for image, (down, right), part in zip(images, places, parts, strict=True):
        assert torch.equal(part, image[down : down + 3, right : right + 4])
    assert len(set(places)) == 9


def test_shrinking_takes_means() -> None:
    images = torch.tensor([[0, 0, 100, 100], [0, 0, 100, 100]] * 2, dtype=torch.uint8).reshape(1, 4, 4, 1)

    small = shrink(images, height=2, width=2)

    assert small.dtype == torch.uint8
    assert small[0, :, 0, 0].tolist() == small[0, :, 0, 0].tolist()
    assert small.float().mean().item() == pytest.approx(50, abs=1)
    assert small[0, 0, 0, 0] < 50 < small[0, 0, 1, 0]


def test_a_square_around_a_drawn_pixel_is_cut_out() -> None:
    images = torch.full((50, 6, 8, 2), 9, dtype=torch.uint8)
    words = draws(np.arange(50), seed=0, epoch=0)

    found = cut_out(images, words, side=3)

    for word, image in zip(words.tolist(), found, strict=True):
        expected = torch.full((6, 8, 2), 9, dtype=torch.uint8)
        line, column = word % 6, word // 6 % 8
        expected[max(line - 1, 0) : line + 2, max(column - 1, 0) : column + 2] = 0
        assert torch.equal(image, expected)


@pytest.mark.parametrize(("position", "enhancer"), [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast), (2, ImageEnhance.Color)])
@pytest.mark.parametrize("factor", [0.4, 1.3])
def test_jitter_is_pillows_enhancement(position: int, enhancer: type, factor: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 7, 9, 3)).astype(np.uint8)
    factors = torch.ones(1, 3)
    factors[0, position] = factor

    ours = jitter(torch.from_numpy(pixels), factors, white=255)[0].numpy()

    theirs = np.asarray(enhancer(Image.fromarray(pixels[0])).enhance(factor))
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1  # Pillow rounds in between


def test_jitter_of_dim_images_stays_in_their_range() -> None:
    images = torch.randint(0, 17, (20, 8, 8, 1), dtype=torch.uint8)

    assert torch.equal(jitter(images, torch.ones(20, 3), white=16), images)
    assert jitter(images, torch.full((20, 3), 2.0), white=16).max() == 16

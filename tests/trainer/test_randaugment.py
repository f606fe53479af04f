"""The operations of RandAugment against Pillow's, and how they are handed out to the images of a batch."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from trainer.data.randaugment import OPERATIONS, Drawn, rand_augment

PIXELS = np.random.default_rng(0).integers(10, 200, (20, 24, 3)).astype(np.uint8)
NAMES = list(OPERATIONS)


def ours(name: str, strength: float, sign: float = 1.0) -> np.ndarray:
    planes = torch.from_numpy(PIXELS).permute(2, 0, 1)[None].float() / 255
    found = OPERATIONS[name](planes, strength, torch.full((1, 1, 1, 1), sign)).clamp(0, 1)
    array: np.ndarray = (found[0].permute(1, 2, 0) * 255).round().numpy().astype(int)
    return array


# (operation, strength, sign, what Pillow does, how far single values may differ)
REFERENCES: list[tuple[str, float, float, Any, int]] = [
    ("identity", 0.7, 1, lambda image: image, 0),
    ("auto contrast", 0.7, 1, ImageOps.autocontrast, 1),
    ("posterize", 0.5, 1, lambda image: ImageOps.posterize(image, 6), 0),
    ("posterize", 1.0, 1, lambda image: ImageOps.posterize(image, 4), 0),
    ("solarize", 0.5, 1, lambda image: ImageOps.solarize(image, 128), 0),
    ("colour", 0.5, 1, lambda image: ImageEnhance.Color(image).enhance(1.45), 2),
    ("contrast", 0.5, -1, lambda image: ImageEnhance.Contrast(image).enhance(0.55), 2),
    ("brightness", 0.5, -1, lambda image: ImageEnhance.Brightness(image).enhance(0.55), 1),
    ("sharpness", 0.5, 1, lambda image: ImageEnhance.Sharpness(image).enhance(1.45), 2),
]


@pytest.mark.parametrize(
    ("name", "strength", "sign", "pillow", "most"), REFERENCES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_it_is_what_pillow_does(name: str, strength: float, sign: float, pillow: Any, most: int) -> None:
    theirs = np.asarray(pillow(Image.fromarray(PIXELS))).astype(int)
    assert np.abs(ours(name, strength, sign) - theirs).max() <= most


def test_equalizing_spreads_values_evenly_and_keeps_their_order() -> None:
    found = ours("equalize", 1.0)[..., 0]

    assert found.min() == 0
    assert found.max() == 255
    assert np.abs(np.histogram(found, 4, (0, 256))[0] / found.size - 0.25).max() < 0.02
    assert (np.diff(found.flatten()[np.argsort(PIXELS[..., 0].flatten(), kind="stable")]) >= 0).all()


def test_equalizing_one_colour_changes_nothing() -> None:
    planes = torch.full((1, 1, 4, 4), 0.3)
    assert torch.equal(OPERATIONS["equalize"](planes, 1.0, torch.ones(1, 1, 1, 1)), planes)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_full_turn_shear_or_shift_is_the_affine_map_of_pillow(sign: float) -> None:
    """Pillow's transforms take the map from a pixel to where it comes from, around the corner of the image."""
    height, width, _ = PIXELS.shape
    x, y = width / 2, height / 2
    sine, cosine = np.sin(np.radians(30) * sign), np.cos(np.radians(30) * sign)
    maps = {
        "rotate": (cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y),
        "shear x": (1, 0.3 * sign, -0.3 * sign * y, 0, 1, 0),
        "shear y": (1, 0, 0, 0.3 * sign, 1, -0.3 * sign * x),
        "translate x": (1, 0, 0.45 * sign * width, 0, 1, 0),
        "translate y": (1, 0, 0, 0, 1, 0.45 * sign * height),
    }
    for name, coefficients in maps.items():
        theirs = np.asarray(
            Image.fromarray(PIXELS).transform((width, height), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
        ).astype(int)
        found = ours(name, 1.0, sign)
        inside = (theirs > 0) & (found > 0)  # Pillow's borders are hard, ours fade
        assert inside.mean() > 0.4
        assert np.abs(found - theirs)[inside & (np.abs(found - theirs) < 60)].mean() < 3, name
        assert (np.abs(found - theirs)[inside] > 8).mean() < 0.1, name


def test_each_image_gets_its_own_operations_in_order() -> None:
    planes = torch.rand(3, 3, 6, 6)
    drawn = Drawn(
        torch.tensor(
            [
                [NAMES.index(name) for name in names]
                for names in (["solarize", "identity", "posterize"], ["posterize", "identity", "solarize"])
            ]
        ),
        torch.ones(2, 3),
    )

    found = rand_augment(planes, drawn, magnitude=15.0)

    one = torch.ones(1, 1, 1, 1)
    first = OPERATIONS["posterize"](OPERATIONS["solarize"](planes[:1], 0.5, one), 0.5, one)
    last = OPERATIONS["solarize"](OPERATIONS["posterize"](planes[2:], 0.5, one), 0.5, one)
    assert torch.equal(found, torch.cat([first, planes[1:2], last]))


def test_grey_images_take_every_operation() -> None:
    planes = torch.rand(14, 1, 8, 8)
    found = rand_augment(planes, Drawn(torch.arange(14)[None], torch.ones(1, 14)), magnitude=30.0)

    assert found.shape == planes.shape
    assert torch.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()

"""Changed copies of images: turned over, cut, rotated. The size stays what it was."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from trainer.data.images.decode import Pixels, load


class Edits(NamedTuple):
    """``angle`` in degrees, counter-clockwise; ``box``: left, top, right and bottom as shares of the sides."""

    flip: bool = False
    box: tuple[float, float, float, float] | None = None
    angle: float = 0.0


def edited(content: bytes | Pixels, edits: Edits) -> bytes:
    """As PNG. Raises Unusable."""
    file = io.BytesIO()
    _edited(load(content), edits).save(file, "PNG")
    return file.getvalue()


def edited_pixels(pixels: Pixels, edits: Edits) -> Pixels:
    """The same shape: height and width, and three channels or none."""
    return np.asarray(_edited(load(pixels), edits)).reshape(pixels.shape)


def _edited(image: Image.Image, edits: Edits) -> Image.Image:
    size = image.size
    if edits.flip:
        image = ImageOps.mirror(image)
    if edits.box is not None:
        left, top, right, bottom = edits.box
        box = (left * size[0], top * size[1], right * size[0], bottom * size[1])
        image = image.resize(size, Image.Resampling.BILINEAR, box=box)
    if edits.angle:
        image = image.rotate(edits.angle, Image.Resampling.BILINEAR)
    return image

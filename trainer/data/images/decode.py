"""One image: bytes of any common format to upright 8-bit pixels of a given size. With ``edit`` the only importer of Pillow."""

import hashlib
import io
import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 100_000_000  # what says it has more is a mistake or an attack
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"})
ORIENTATION, SIDEWAYS = 0x0112, frozenset({5, 6, 7, 8})

DIGEST_BYTES = 16

Pixels = npt.NDArray[np.uint8]


class Unusable(Exception):
    """What is wrong with an image, for a person."""


class Header(NamedTuple):
    height: int
    width: int
    is_grey: bool


class Inspected(NamedTuple):
    """``format`` and ``mode`` as Pillow calls them; ``is_blank``: every pixel has one colour; ``digest`` is of the pixels."""

    format: str
    mode: str
    height: int
    width: int
    is_blank: bool
    digest: bytes


def header_of(content: bytes | Pixels) -> Header:
    """Without decoding; sides as they are once the image stands upright. Raises Unusable."""
    if not isinstance(content, bytes):
        return Header(content.shape[0], content.shape[1], content.ndim == 2 or content.shape[2] == 1)
    with _opened(content) as image:
        width, height = image.size
        if image.getexif().get(ORIENTATION) in SIDEWAYS:
            width, height = height, width
        return Header(height, width, image.mode in GREY_MODES)


def decode(content: bytes | Pixels, *, height: int, width: int, num_channels: int) -> Pixels:
    """(height, width) for one channel, (height, width, 3) for three. Raises Unusable.

    The shorter side is scaled to fit and the middle is cut out. Sixteen bits keep their upper eight, transparent parts
    become white, an animation shows its first frame.
    """
    if not isinstance(content, bytes):
        shape = (height, width) if num_channels == 1 else (height, width, num_channels)
        if content.shape == shape:
            return content
        image = Image.fromarray(content if content.ndim == 2 or content.shape[2] > 1 else content[:, :, 0])
    else:
        with _opened(content) as opened:
            image = _eight_bits(_upright(opened))
    image = image.convert("L" if num_channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)
    return np.asarray(image)


def load(content: bytes | Pixels) -> Image.Image:
    """Upright, eight bits a channel, grey or RGB. Raises Unusable."""
    if not isinstance(content, bytes):
        return Image.fromarray(content if content.ndim == 2 or content.shape[2] > 1 else content[:, :, 0])
    with _opened(content) as opened:
        image = _eight_bits(_upright(opened))
    return image.convert("L" if image.mode in GREY_MODES else "RGB")


def inspect(content: bytes | Pixels) -> Inspected:
    """All of the image is read. Raises Unusable."""
    if not isinstance(content, bytes):
        return _inspected(Image.fromarray(content if content.ndim == 2 or content.shape[2] > 1 else content[:, :, 0]), "array")
    with _opened(content) as image:
        return _inspected(_upright(image), image.format or "unknown", mode=image.mode)


def _inspected(image: Image.Image, kind: str, *, mode: str | None = None) -> Inspected:
    extrema = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    digest = hashlib.blake2b(f"{image.mode} {image.size} ".encode() + image.tobytes(), digest_size=DIGEST_BYTES).digest()
    is_blank = all(low == high for low, high in bands)
    return Inspected(kind, mode or image.mode, image.height, image.width, is_blank=is_blank, digest=digest)


def num_frames(content: bytes) -> int:
    with _opened(content) as image:
        return int(getattr(image, "n_frames", 1))


def _opened(content: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large or oddly tagged image is judged here, not told on standard error
            image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        raise Unusable("it is not an image in a format that is known here") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unusable(f"it cannot be read: {error}") from None
    if image.width * image.height > MOST_PIXELS:
        raise Unusable(f"it has {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF tag says, as every viewer shows it. This reads all of the image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            return ImageOps.exif_transpose(image)
    except Exception as error:  # why: Pillow's decoders raise whatever a broken file makes them stumble over
        raise Unusable(f"it cannot be read: {error}") from None


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise Unusable("its pixels are floating-point numbers, of which nobody knows what is white; store 8 or 16 bits")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        grey = image.mode in ("LA", "La")
        coloured = image.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)
        return flat.convert("L" if grey else "RGB")
    return image

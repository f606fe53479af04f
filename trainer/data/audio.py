"""Recordings as numbers: decoded, one channel, one sample rate."""

import hashlib
import io
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

Wave = npt.NDArray[np.float32]

DIGEST_BYTES = 16
MOST_TERMS = 1000  # of the fraction that a change of speed or rate becomes


class Unusable(Exception):
    """A recording that cannot be trained on; the message says why."""


class Inspected(NamedTuple):
    """``rate`` in Hz; ``digest`` is of the samples, channels joined."""

    format: str
    num_channels: int
    rate: int
    seconds: float
    is_silent: bool
    digest: bytes


def decode(content: bytes, *, max_seconds: float) -> tuple[Wave, int]:
    """(L,) float32 between -1 and 1, the mean of the channels, and the sample rate in Hz."""
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate = int(file.samplerate)
            # The header is looked at first: a small file may claim to be hours long.
            if file.frames > max_seconds * rate:
                raise Unusable(f"it lasts {file.frames / rate:.1f} s, more than data.max_seconds {max_seconds:g}")
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise Unusable(f"it is no sound that can be read: {error.error_string}") from None
    wave: Wave = samples.mean(axis=1)
    if not len(wave):
        raise Unusable("it holds no sound")
    if not np.isfinite(wave).all():
        raise Unusable("it holds samples that are NaN or infinite")
    return wave, rate


def inspect(content: bytes, *, max_seconds: float) -> Inspected:
    """All of the recording is read. Raises Unusable."""
    wave, rate = decode(content, max_seconds=max_seconds)
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        kind, num_channels = f"{file.format} {file.subtype}", int(file.channels)
    digest = hashlib.blake2b(wave.tobytes(), digest_size=DIGEST_BYTES).digest()
    return Inspected(kind, num_channels, rate, len(wave) / rate, is_silent=not wave.any(), digest=digest)


def resample(wave: Wave, *, rate: int, to: int, speed: float = 1.0) -> Wave:
    """At ``to`` Hz, played ``speed`` times as fast, which moves the pitch as well (Ko et al. 2015). Polyphase."""
    ratio = Fraction(to, rate) / Fraction(speed).limit_denominator(MOST_TERMS)
    ratio = ratio.limit_denominator(MOST_TERMS)
    if ratio == 1:
        return wave
    from scipy.signal import resample_poly  # noqa: PLC0415  # why: half a second that recordings of one rate and speed do not need

    changed: Wave = resample_poly(wave, ratio.numerator, ratio.denominator).astype(np.float32)
    return changed

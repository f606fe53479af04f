"""Recordings that the rows of a table name: each looked at once before the first step, compared by what is heard, copied with changes."""

import io
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch

from core.recipes.dataset_preparation import Augment, DropDuplicates
from core.recipes.sections.augmentations import AudioAugmentation
from trainer.data.audio import Unusable, decode, inspect, resample
from trainer.data.findings import Findings
from trainer.data.speech_listing import AUDIO_NAMES, MAX_RECORDING_BYTES
from trainer.determinism import generator
from trainer.errors import InvalidData
from trainer.prepare.cleaning import distinct, key_of
from trainer.prepare.frame import Done, Frame, training_rows
from trainer.prepare.rewording import with_copies
from trainer.prepare.spooling import Places

MOST_SECONDS = 6 * 3600.0
_AUDIO_STREAM, _NOISE_STREAM = 0xA0, 0xA1


class Heard(NamedTuple):
    """``digest`` is of the samples."""

    digest: bytes
    seconds: float


class Copy(NamedTuple):
    """A recording that is made of another, whenever it is asked for. The numbers decide what chance does to it."""

    source: Any
    how: AudioAugmentation
    numbers: tuple[int, ...]


def audio_column(frame: Frame) -> str | None:
    """The first of the usual names."""
    lower = {name.strip().lower(): name for name in reversed(frame.names)}
    return next((lower[name] for name in AUDIO_NAMES if name in lower), None)


class Sounds:
    """``files``: what lies beside the table, by its path; a row names one of these, or holds the bytes itself."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files
        self._heard: dict[str | bytes, Heard] = {}
        self.made: dict[str, Copy] = {}

    def hear_all(self, frame: Frame, places: Places, findings: Findings) -> set[int]:
        """The rows whose recording cannot be used; each is a finding."""
        column, bad = audio_column(frame), set[int]()
        for row, cell in enumerate(frame.cells(column) if column is not None else ()):
            try:
                self.heard(cell)
            except Unusable as error:
                file, number = places.of(row)
                findings.bad_row(str(error), file=file, row=number, column=column)
                bad.add(row)
        return bad

    def heard(self, cell: Any) -> Heard:
        """Raises Unusable."""
        content = _content_in(cell)
        key = name_in(cell) if content is None else key_of(content)
        if key not in self._heard:
            sound = inspect(self.content(cell), max_seconds=MOST_SECONDS)
            self._heard[key] = Heard(sound.digest, sound.seconds)
        return self._heard[key]

    def content(self, cell: Any) -> bytes:
        """The bytes of a recording. Raises Unusable."""
        content = _content_in(cell)
        if content is not None:
            return content
        name = name_in(cell)
        if name in self.made:
            return self.changed(self.made[name])
        path = self._files.get(name)
        if path is None:
            raise Unusable("there is no such file in the dataset")
        try:
            if path.stat().st_size > MAX_RECORDING_BYTES:
                raise Unusable("its file is larger than 1 GiB")
            return path.read_bytes()
        except OSError as error:
            raise Unusable(f"its file cannot be read: {error.strerror}") from None

    def changed(self, copy: Copy) -> bytes:
        """As WAV with 16 bits a sample. Raises Unusable."""
        wave, rate = decode(self.content(copy.source), max_seconds=MOST_SECONDS)
        if copy.how.speed is not None:
            share = float(torch.rand(1, generator=generator(*copy.numbers, _AUDIO_STREAM), dtype=torch.float64))
            wave = resample(wave, rate=rate, to=rate, speed=1 + (2 * share - 1) * copy.how.speed)
        if copy.how.noise is not None:
            noise = torch.randn(len(wave), generator=generator(*copy.numbers, _NOISE_STREAM), dtype=torch.float64).numpy()
            loudness = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
            wave = (wave + noise * loudness * 10 ** (-copy.how.noise / 20)).astype(np.float32)
        file = io.BytesIO()
        soundfile.write(file, np.clip(wave, -1, 1), rate, format="WAV", subtype="PCM_16")
        return file.getvalue()

    def copy(self, cell: Any, copy: Copy, ending: str) -> Any:
        """What a table has in the place of ``cell`` for a changed copy: a name of its own, or the bytes."""
        if _content_in(cell) is not None:
            return {**cell, "bytes": self.changed(copy)} if isinstance(cell, dict) else self.changed(copy)
        name = f"{posixpath.splitext(name_in(cell))[0]}-{ending}.wav"
        while name in self._files:
            name = f"{posixpath.splitext(name)[0]}_.wav"
        self.made[name] = copy
        return {**cell, "path": name} if isinstance(cell, dict) else name


def _content_in(cell: Any) -> bytes | None:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return content if isinstance(content, bytes) else None


def name_in(cell: Any) -> str:
    """The path below the dataset; the table that names it lies on top. Raises Unusable."""
    path = cell.get("path") if isinstance(cell, dict) else cell
    if not isinstance(path, str) or not path.strip():
        raise Unusable("it names no recording")
    return posixpath.normpath(path.strip().replace("\\", "/"))


def drop_equal_sounds(frame: Frame, step: DropDuplicates, sounds: Sounds) -> Done:
    kept = distinct((heard.digest for heard in _heard(frame, sounds)), frame.parts)
    return Done(frame.take(kept), num_changed=frame.num_rows - len(kept))


def seconds_of(frame: Frame, column: str | None, sounds: Sounds) -> Iterator[float]:
    return (heard.seconds for heard in _heard(frame, sounds, column))


def _heard(frame: Frame, sounds: Sounds, column: str | None = None) -> Iterator[Heard]:
    for row, cell in enumerate(frame.cells(column or _column(frame)), 1):
        try:
            yield sounds.heard(cell)
        except Unusable as error:
            raise InvalidData([f"row {row}, {str(cell)[:80]!r}: {error}"]) from None


def _column(frame: Frame) -> str:
    name = audio_column(frame)
    if name is None:
        raise InvalidData([f"no column is named like recordings ({', '.join(AUDIO_NAMES)})"])
    return name


def augment_sounds(frame: Frame, step: Augment, sounds: Sounds, *, seed: int, number: int) -> Done:
    """The copies of a training row stand behind it. ``number`` is that of the step, and part of their names."""
    assert step.audio is not None
    how, column = step.audio, _column(frame)

    def change(cell: Any, copy: int, row: int) -> Any:
        return sounds.copy(cell, Copy(cell, how, (seed, copy, row)), f"{number}-{row}-{copy}")

    after = with_copies(frame, column, change, training_rows(frame.parts), num=step.copies)
    for _ in after.cells(column):  # each copy gets its name now, and what cannot be copied is told by this step
        pass
    return Done(after, num_changed=after.num_rows - frame.num_rows)

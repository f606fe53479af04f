"""Utterances ready for training: their features, or their waves, flat and memory-mapped, in the cache of prepared data.

In the folder, for each speed number s: ``values-s.npy``, all utterances end to end ((frames, bands) float32, or (samples,)
float32 waves), and ``ends-s.npy``, where each ends. ``utterances.json`` has the rest, ``keys.npy`` a hash of each wave.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.format import open_memmap

from core.recipes.speech_recognition import Data
from trainer.data.audio import Unusable, Wave, decode, resample
from trainer.data.cache import data_digest, prepared
from trainer.data.findings import Findings
from trainer.data.mel import log_mel
from trainer.data.speech_listing import Listing, list_speech
from trainer.state import Run

FORMAT = 1  # of what is written; another number prepares again
HIGHEST_AUTO_RATE = 16_000
KEY_BYTES = 16
DECIDING = {"on_bad_rows", "split", "split_column", "group_column", "time_column", "audio_column", "text_column", "lowercase"}
DECIDING |= {"sample_rate", "num_mels", "max_seconds"}

Values = npt.NDArray[np.float32]
Sound = Callable[[int], tuple[Wave, int]]  # of a position in the listing


@dataclass(frozen=True, slots=True)
class Hearing:
    """What becomes of a recording. ``num_mels`` None: the wave itself."""

    rate: int
    num_mels: int | None

    def __call__(self, wave: Wave, rate: int, speed: float = 1.0) -> Values:
        """(frames, bands), or (samples,) with mean 0 and deviation 1, as wav2vec2 expects."""
        changed = resample(wave, rate=rate, to=self.rate, speed=speed)
        if self.num_mels is None:
            centred = changed - changed.mean()
            scaled: Values = centred / np.float32(np.sqrt(changed.var() + 1e-7))
            return scaled
        heard: Values = log_mel(torch.from_numpy(changed), rate=self.rate, num_mels=self.num_mels).numpy()
        return heard


@dataclass(frozen=True, slots=True)
class SpeechCorpus:
    """``utterances``: name, text, part, file, row, group, time and seconds of each."""

    hearing: Hearing
    utterances: list[dict[str, Any]]
    keys: npt.NDArray[np.uint8]
    values: tuple[Values, ...]
    ends: tuple[npt.NDArray[np.int64], ...]
    report: dict[str, Any]

    def __len__(self) -> int:
        return len(self.utterances)

    def heard(self, row: int, speed: int = 0) -> Values:
        """Of utterance ``row`` at speed number ``speed``; a view of the file."""
        ends = self.ends[speed]
        return self.values[speed][ends[row - 1] if row else 0 : ends[row]]

    def lengths(self, speed: int = 0) -> npt.NDArray[np.int64]:
        return np.diff(self.ends[speed], prepend=0)

    def column(self, name: str) -> list[Any]:
        return [utterance[name] for utterance in self.utterances]


def open_speech(run: Run, root: Path, knobs: Data, *, speeds: Sequence[float], as_waves: bool) -> SpeechCorpus:
    """A collective. Raises InvalidData with everything that is wrong."""
    deciding = knobs.model_dump(mode="json", include=DECIDING)
    key = {"speech": FORMAT, "data": data_digest(run), "speeds": list(speeds), "waves": as_waves, **deciding}
    return load_speech(prepared(run, key, lambda out: prepare(root, knobs, out, speeds=speeds, as_waves=as_waves)))


def load_speech(folder: Path) -> SpeechCorpus:
    content = json.loads((folder / "utterances.json").read_text("utf-8"))
    numbers = range(content["num_speeds"])
    return SpeechCorpus(
        hearing=Hearing(content["rate"], content["num_mels"]),
        utterances=content["utterances"],
        keys=np.load(folder / "keys.npy"),
        values=tuple(np.load(folder / f"values-{number}.npy", mmap_mode="r") for number in numbers),
        ends=tuple(np.load(folder / f"ends-{number}.npy") for number in numbers),
        report=content["report"],
    )


def prepare(root: Path, knobs: Data, out: Path, *, speeds: Sequence[float], as_waves: bool) -> None:
    """Fills the folder ``out``: every recording is decoded twice, first to see what there is, then to write it."""
    findings = Findings()
    listing, read = list_speech(root, knobs, findings)
    findings.settle("drop")

    def sound(position: int) -> tuple[Wave, int]:
        return decode(read(listing.names[position]), max_seconds=knobs.max_seconds)

    usable, rates = look(listing, sound, findings)
    if not usable and not findings.num_bad_rows:
        findings.fatal("the table lists no utterance")
    findings.settle(knobs.on_bad_rows)
    if not usable:
        findings.fatal("there is no recording in it that can be read")
        findings.settle(knobs.on_bad_rows)
    common = min(rate for rate, count in Counter(rates).items() if count == max(Counter(rates).values()))
    rate = min(common, HIGHEST_AUTO_RATE) if knobs.sample_rate == "auto" else knobs.sample_rate
    hearing = Hearing(rate, None if as_waves else knobs.num_mels)
    seconds, keys = write_values(usable, sound, hearing, list(speeds), out)
    np.save(out / "keys.npy", np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY_BYTES))
    utterances = [_described(listing, position, seconds[number]) for number, position in enumerate(usable)]
    content = {"rate": hearing.rate, "num_mels": hearing.num_mels, "num_speeds": len(speeds), "utterances": utterances}
    (out / "utterances.json").write_text(json.dumps({**content, "report": findings.report()}), "utf-8")


def look(listing: Listing, sound: Sound, findings: Findings) -> tuple[list[int], list[int]]:
    """Positions of the recordings that can be decoded, and their sample rates."""
    usable, rates = [], []
    for position, name in enumerate(listing.names):
        try:
            _, rate = sound(position)
        except Unusable as error:
            findings.bad_row(f"{name}: {error}", file=listing.files[position], row=listing.rows[position])
        else:
            usable.append(position)
            rates.append(rate)
    return usable, rates


def write_values(usable: list[int], sound: Sound, hearing: Hearing, speeds: list[float], out: Path) -> tuple[list[float], list[bytes]]:
    """One file per speed. It is written raw, for nobody knows its length before, and gets its header afterwards."""
    seconds: list[float] = []
    keys: list[bytes] = []
    ends: list[list[int]] = [[] for _ in speeds]
    files = [(out / f"raw-{number}").open("wb") for number in range(len(speeds))]
    for position in usable:
        wave, rate = sound(position)
        seconds.append(len(wave) / rate)
        keys.append(hashlib.blake2b(wave.tobytes(), digest_size=KEY_BYTES).digest())
        for number, speed in enumerate(speeds):
            heard = hearing(wave, rate, speed)
            files[number].write(np.ascontiguousarray(heard).tobytes())
            ends[number].append((ends[number][-1] if ends[number] else 0) + len(heard))
    for number, file in enumerate(files):
        file.close()
        np.save(out / f"ends-{number}.npy", np.array(ends[number], dtype=np.int64))
        _add_header(Path(file.name), out / f"values-{number}.npy", ends[number][-1], hearing.num_mels)
    return seconds, keys


def _add_header(raw: Path, path: Path, length: int, num_mels: int | None) -> None:
    shape = (length,) if num_mels is None else (length, num_mels)
    target = open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    if length:
        target[:] = np.memmap(raw, dtype=np.float32, mode="r", shape=shape)
    target.flush()
    raw.unlink()


def _described(listing: Listing, position: int, seconds: float) -> dict[str, Any]:
    return {
        "name": listing.names[position],
        "text": listing.texts[position],
        "part": listing.parts[position],
        "file": listing.files[position],
        "row": listing.rows[position],
        "group": listing.groups[position] if listing.groups is not None else None,
        "time": listing.times[position] if listing.times is not None else None,
        "seconds": seconds,
    }

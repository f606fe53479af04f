"""Recordings described one after the other; nothing is kept of each but its length, a digest and what the table says of it."""

from collections import Counter
from pathlib import Path
from typing import Any

from core.profile import AudioProfile, ColumnProfile
from trainer.data.audio import Inspected, Unusable, inspect
from trainer.data.findings import Findings
from trainer.data.speech_listing import Listing, list_speech
from trainer.data.splits import make_splits
from trainer.profile.columns import lengths_of
from trainer.profile.detection import Detected
from trainer.profile.numbers import summarise, top
from trainer.profile.rows import Ledger
from trainer.profile.rules import SEED, knobs_of
from trainer.profile.sketch import Sketch
from trainer.tools.telling import Tell

TASK = "speech-recognition"


def profile_audio(root: Path, detected: Detected, findings: Findings, rules: Findings, tell: Tell) -> Sketch:
    """``findings``: what cannot be read; ``rules``: what speech recognition would refuse as a whole."""
    knobs: Any = knobs_of(TASK, detected.columns)
    listing, read = list_speech(root, knobs, findings)
    sketch = Sketch(Ledger(has_splits=any(listing.parts)), unit="recordings")
    seen: list[Inspected] = []
    for position, name in enumerate(listing.names):
        tell(position, len(listing.names))
        try:
            sound = inspect(read(name), max_seconds=knobs.max_seconds)
        except Unusable as error:
            findings.bad_row(f"{name}: {error}", file=listing.files[position], row=listing.rows[position])
            continue
        seen.append(sound)
        sketch.ledger.add(sound.digest, part=listing.parts[position])
    _check(listing, len(seen), knobs, rules)
    _describe(sketch, seen, listing.texts, detected)
    return sketch


def _describe(sketch: Sketch, seen: list[Inspected], texts: list[str], detected: Detected) -> None:
    seconds = [sound.seconds for sound in seen]
    sketch.audio = AudioProfile(
        seconds=summarise(seconds),
        total_seconds=sum(seconds),
        rates=top(str(sound.rate) for sound in seen),
        channels=top(str(sound.num_channels) for sound in seen),
        formats=top(sound.format for sound in seen),
    )
    written = Counter(texts)
    name = detected.columns.get("text", "text")
    lengths = lengths_of(texts)
    column = ColumnProfile(name=name, type="text", num_missing=0, num_unique=len(written), top=top(written), lengths=lengths)
    sketch.columns = [column] if texts else []
    if len({sound.rate for sound in seen}) > 1:
        sketch.warn("differing_rates", "recordings have different sample rates; training resamples them to one")
    num_silent = sum(sound.is_silent for sound in seen)
    if num_silent:
        sketch.warn("blank", f"{num_silent:,} recordings are silent from start to end")


def _check(listing: Listing, num_usable: int, knobs: Any, rules: Findings) -> None:
    if not num_usable:
        rules.fatal("there is no recording in it that can be read")
        return
    make_splits(num_usable, knobs, seed=SEED, findings=rules, parts=listing.parts if num_usable == len(listing.names) else None)

"""A tiny dataset for every recipe, in one of the formats it takes; each can be learned in seconds."""

import csv
import json
import random
import wave
import zipfile
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GOOD, BAD = ("lovely", "splendid", "warm"), ("dull", "awful", "cold")
NAMES, PLACES = ("Anna", "Bert", "Carla", "Dirk"), ("Paris", "Oslo", "Lima", "Rome")


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def opinion(label: str, rng: random.Random) -> str:
    words = GOOD if label == "good" else BAD
    return f"a {rng.choice(words)} {rng.choice(('film', 'book', 'song'))} and {rng.choice(words)} number {rng.randrange(1000)}"


def labelled_texts(root: Path, *, num_rows: int = 160) -> Path:
    """``reviews.csv``: text and label."""
    rng = random.Random(1)
    rows = [(opinion(label, rng), label) for label in ("good", "bad") * (num_rows // 2)]
    return write_csv(root / "reviews.csv", [("text", "label"), *rows])


def texts(root: Path) -> Path:
    """A folder with ``train.txt`` and ``validation.txt`` and ``test.txt``, a sentence a line."""
    rng = random.Random(2)
    for part, num in (("train", 300), ("validation", 40), ("test", 40)):
        lines = [opinion(rng.choice(("good", "bad")), rng) for _ in range(num)]
        (root / f"{part}.txt").write_text("\n".join(lines) + "\n")
    return root


def tagged_texts(root: Path) -> Path:
    """``train.jsonl``, ``validation.jsonl`` and ``test.jsonl``: tokens and BIO tags."""
    rng = random.Random(3)
    for part, num in (("train", 120), ("validation", 20), ("test", 20)):
        records = []
        for _ in range(num):
            tokens = [rng.choice(NAMES), "went", "to", rng.choice(PLACES), "on", "foot"]
            records.append({"tokens": tokens, "ner_tags": ["B-person", "O", "O", "B-place", "O", "O"]})
        write_lines(root / f"{part}.jsonl", records)
    return root


def images(root: Path) -> Path:
    """``shapes.zip``: <class>/<number>.png, 12 x 12 pixels, a bright half at the left or at the top."""
    rng = np.random.default_rng(4)
    with zipfile.ZipFile(root / "shapes.zip", "w") as archive:
        for number in range(40):
            for name in ("left", "top"):
                archive.writestr(f"{name}/{number:03}.png", image(name, rng))
    return root / "shapes.zip"


def image(name: str, rng: np.random.Generator) -> bytes:
    pixels = rng.integers(0, 60, (12, 12, 3), dtype=np.uint8)
    part = pixels[:, :6] if name == "left" else pixels[:6]
    part += np.uint8(150)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def measurements(root: Path) -> Path:
    """``animals.csv``: two numbers with gaps, a category, and what animal it is."""
    rng = random.Random(5)
    rows: list[tuple[Any, ...]] = []
    for kind in ("cat", "horse") * 60:
        weight = rng.gauss(4 if kind == "cat" else 400, 1)
        rows.append((f"{weight:.2f}", "" if rng.random() < 0.1 else rng.randrange(1, 20), rng.choice(("north", "south")), kind))
    return write_csv(root / "animals.csv", [("weight", "age", "island", "species"), *rows])


def ratings(root: Path) -> Path:
    """``ratings.csv``: every user likes the items that are as even or odd as they are."""
    rng = random.Random(6)
    rows = [
        (user, 100 + item, 5 if (user + item) % 2 == 0 else 1, 1_700_000_000 + rng.randrange(1_000_000))
        for user in range(30)
        for item in range(20)
        if rng.random() < 0.7
    ]
    return write_csv(root / "ratings.csv", [("user_id", "item_id", "rating", "timestamp"), *rows])


def speech(root: Path) -> Path:
    """``metadata.csv`` and ``wavs``: "a" is a low tone of a quarter of a second, "b" a high one."""
    rng = random.Random(7)
    (root / "wavs").mkdir()
    rows = []
    for number in range(60):
        text = rng.choice(("a", "b"))
        write_tone(root / "wavs" / f"{number:03}.wav", 300 if text == "a" else 1800)
        rows.append((f"wavs/{number:03}.wav", text))
    write_csv(root / "metadata.csv", [("file_name", "transcription"), *rows])
    return root


def write_tone(path: Path, hertz: float, *, sample_rate: int = 8000) -> Path:
    times = np.arange(sample_rate // 4) / sample_rate
    samples = (0.5 * np.sin(2 * np.pi * hertz * times) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.tobytes())
    return path

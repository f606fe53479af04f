"""Tiny datasets of every format, for the tests of what describes and prepares them."""

import csv
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image

RATE = 8000
COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}


def write_csv(path: Path, rows: list[list[Any]], *, encoding: str = "utf-8", delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def write_json_lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def reviews(num: int, start: int = 0) -> list[dict[str, Any]]:
    """Texts of six words, every third of them good; no two are the same."""
    words = ("the", "film", "was", "really", "quite", "number")
    return [
        {"text": " ".join([*words, str(number)]), "label": "good" if number % 3 == 0 else "bad"} for number in range(start, start + num)
    ]


def picture(number: int, colour: tuple[int, int, int], size: tuple[int, int] = (8, 6)) -> bytes:
    """PNG; every number another image."""
    pixels = np.full((size[1], size[0], 3), colour, dtype=np.uint8)
    pixels[0, 0] = (number % 256, number // 256, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pictures(root: Path, num: int = 12, *, part: str | None = None, start: int = 0) -> Path:
    """``num`` images of each class, in folders of their class, below a folder of the split if there is one."""
    for kind, (label, colour) in enumerate(COLOURS.items()):
        folder = root / part / label if part else root / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(start, start + num):
            (folder / f"{number}.png").write_bytes(picture(2 * number + kind, colour))
    return root


def recordings(root: Path, num: int = 6) -> Path:
    """``metadata.csv`` with a tone of another height for each row."""
    root.mkdir(parents=True, exist_ok=True)
    rows = [["file_name", "text"]]
    for number in range(num):
        wave = 0.3 * np.sin(2 * np.pi * (300 + 50 * number) * np.arange(RATE // 4) / RATE)
        soundfile.write(root / f"{number}.wav", wave, RATE)
        rows.append([f"{number}.wav", f"tone {number}"])
    write_csv(root / "metadata.csv", rows)
    return root


def zipped(root: Path, archive: Path, *, below: str = "", more: Mapping[str, bytes] = MappingProxyType({})) -> Path:
    """All files of a folder in a .zip, each ``below`` a folder of it if asked, and ``more`` as they are."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            target.write(path, below + path.relative_to(root).as_posix())
        for name, content in more.items():
            target.writestr(name, content)
    return archive

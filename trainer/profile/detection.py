"""Which format a dataset has and which recipe it suits, told by the names of files and columns and by a look at the first rows."""

import itertools
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.recipes.dataset_validation import Data
from core.recipes.preparable import AUDIO_ARCHIVE
from trainer.data.findings import Findings
from trainer.data.images.by_class import SUFFIXES as IMAGE_SUFFIXES
from trainer.data.images.by_class import holds_images
from trainer.data.images.idx import idx_pairs
from trainer.data.layout import find_parts
from trainer.data.ratings import NAMES as RATING_NAMES
from trainer.data.ratings import ratings_file
from trainer.data.speech_listing import AUDIO_NAMES
from trainer.data.speech_listing import TEXT_NAMES as TRANSCRIPT_NAMES
from trainer.data.table import READERS
from trainer.data.tabular_columns import TARGET_NAMES
from trainer.data.tagged import COLUMNS as TAGGED_SUFFIXES
from trainer.data.tagged import NAMES as TAG_NAMES_FILE
from trainer.data.tagged import TAG_COLUMNS
from trainer.data.text.columns import LABEL_NAMES, PAIR_NAMES, PLAIN, TEXT_NAMES

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".au")
BROKEN_ARCHIVE = "broken-archive"
PEEKED = 50
Roles = dict[str, str]


@dataclass(frozen=True, slots=True)
class Detected:
    """``columns``: role -> name of a column. ``is_sure``: the recipe was named, or files and columns leave no doubt; else it is a guess."""

    format: str
    task: str | None
    columns: Roles
    is_told: bool = False
    is_sure: bool = True


def detect(root: Path, asked: Data) -> Detected:
    hints = asked.columns.given()
    kind, names, rows = form_of(root)
    task, columns, is_sure = by_columns(names, rows, hints) if names else (by_files(root, kind), {}, True)
    if asked.task != "auto":
        known = by_task(asked.task, names, rows)
        return Detected(kind, asked.task, {**known, **hints}, is_told=True)
    return Detected(kind, task, {**columns, **hints}, is_sure=is_sure)


def form_of(root: Path) -> tuple[str, list[str], list[Mapping[str, Any]]]:
    """(format, columns, first records); the last two are empty for what is no table."""
    if (root / "images.npy").is_file():
        return "image-arrays", [], []
    if idx_pairs(root):
        return "idx", [], []
    tables = table_files(root)
    if not tables:
        archives = [path for paths in find_parts(root, (".zip",)).values() for path in paths]
        if archives:
            return form_of_archive(archives[0]), [], []
        return by_suffix(root), [], []
    rows = [record for _, record in itertools.islice(READERS[tables[0].suffix.lower()](tables[0], tables[0].name, Findings()), PEEKED)]
    names = list(dict.fromkeys(name for record in rows for name in record))
    suffixes = sorted({path.suffix.lower().removeprefix(".") for path in tables})
    return "+".join(suffixes), names, rows


def table_files(root: Path) -> list[Path]:
    """Those that hold rows: of ratings the one that is named so, of tagged texts not the names of their tags."""
    parts = find_parts(ratings_file(root), tuple(READERS))
    files = [path for paths in parts.values() for path in paths if path.name != TAG_NAMES_FILE]
    beside_images = all(path.suffix.lower() == ".json" for path in files) and root.is_dir() and holds_images(root)
    return [] if beside_images else files


def form_of_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.lower() for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError):
        return BROKEN_ARCHIVE
    if any(name.endswith(IMAGE_SUFFIXES) for name in names):
        return "image-archive"
    return AUDIO_ARCHIVE if any(name.endswith(AUDIO_SUFFIXES) for name in names) else "zip"


def by_suffix(root: Path) -> str:
    if root.is_dir() and holds_images(root):
        return "image-folder"
    tagged = [path for paths in find_parts(root, TAGGED_SUFFIXES).values() for path in paths]
    if any(path.suffix.lower() not in PLAIN or looks_tagged(path) for path in tagged):
        return "conll"
    return "text" if find_parts(root, PLAIN) else "files"


def looks_tagged(path: Path) -> bool:
    """Whether the last column of most of the first lines is a tag."""
    with path.open("rb") as file:
        lines = [line.split() for line in itertools.islice(file, PEEKED) if line.strip()]
    tags = [words[-1] for words in lines if len(words) > 1]
    return bool(tags) and 2 * sum(tag == b"O" or tag.startswith((b"B-", b"I-")) for tag in tags) > len(lines)


def by_files(root: Path, kind: str) -> str | None:
    tasks = {
        "image-arrays": "image-classification",
        "image-archive": "image-classification",
        "image-folder": "image-classification",
        "idx": "image-classification",
        AUDIO_ARCHIVE: "speech-recognition",
        "conll": "token-classification",
        "text": "causal-language-modeling",
    }
    if kind not in tasks and table_files(root):
        return "tabular"  # of which no row can be read
    return tasks.get(kind)


def by_columns(names: Sequence[str], rows: Sequence[Mapping[str, Any]], hints: Roles) -> tuple[str | None, Roles, bool]:
    """(recipe, columns by role, whether that is beyond doubt): the first recipe all of whose columns are there."""
    for task, needed in NEEDED.items():
        columns = {**by_task(task, names, rows), **hints}
        if all(any(role in columns for role in either) for either in needed):
            return task, columns, True
    target = first_of(TARGET_NAMES, names)
    return "tabular", {} if target is None else {"target": target}, target is not None or "target" in hints


# Of each inner tuple one role must be there; the order is that in which recipes are tried.
NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "speech-recognition": (("audio",), ("text",)),
    "image-classification": (("image",), ("label",)),
    "token-classification": (("tokens",), ("tags",)),
    "recommendation": (("user",), ("item",)),
    "text-classification": (("text",), ("label",)),
    "causal-language-modeling": (("messages", "completion", "text"),),
}


def by_task(task: str, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Roles:
    """The columns that a recipe would take, by its own rules, where a look at their cells agrees."""
    found: dict[str, str | None] = {}
    if task == "speech-recognition":
        audio = first_of(AUDIO_NAMES, names)
        found = {"audio": audio if holds_files(rows, audio, AUDIO_SUFFIXES) else None, "text": first_of(TRANSCRIPT_NAMES, names)}
    elif task == "image-classification":
        image = first_of(("image", "img", "file_name", "file", "path"), names)
        found = {"image": image if holds_files(rows, image, IMAGE_SUFFIXES) else None, "label": first_of(LABEL_NAMES, names)}
    elif task == "token-classification":
        found = {"tokens": only_lists(rows, first_of(("tokens", "words"), names)), "tags": only_lists(rows, first_of(TAG_COLUMNS, names))}
    elif task == "recommendation":
        found = {role: first_of(usual, names) for role, usual in RATING_NAMES.items()}
    elif task == "text-classification":
        found = {**texts_in(names, rows), "label": first_of(LABEL_NAMES, names)}
    elif task == "tabular":
        found = {"target": first_of(TARGET_NAMES, names)}
    elif task == "causal-language-modeling":
        found = language_columns(names, rows)
    elif task == "masked-language-modeling":
        found = {"text": only_texts(rows, first_of(TEXT_NAMES, names))}
    return {role: name for role, name in found.items() if name is not None}


def texts_in(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    lower = {name.strip().lower(): name for name in reversed(names)}
    for first, second in PAIR_NAMES:
        if {first, second} <= lower.keys() and "text" not in lower:
            return {"text": lower[first], "text_pair": lower[second]}
    return {"text": only_texts(rows, first_of(TEXT_NAMES, names))}


def language_columns(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    messages = only_lists(rows, first_of(("messages",), names))
    if messages is not None:
        return {"messages": messages}
    if {"prompt", "completion"} <= set(names):
        return {"prompt": "prompt", "completion": "completion"}
    return {"text": only_texts(rows, first_of(TEXT_NAMES, names))}


def first_of(usual: Sequence[str], names: Sequence[str]) -> str | None:
    lower = {name.strip().lower(): name for name in reversed(names)}
    return next((lower[name] for name in usual if name in lower), None)


def holds_files(rows: Sequence[Mapping[str, Any]], column: str | None, suffixes: tuple[str, ...]) -> bool:
    """Whether most cells are names of such files, or bytes."""
    cells = cells_of(rows, column)
    names = [cell.get("path") or "" if isinstance(cell, dict) else cell for cell in cells]
    fitting = [isinstance(cell, bytes) or _has_bytes(cell) for cell in cells]
    named = [isinstance(name, str) and name.lower().endswith(suffixes) for name in names]
    is_named_otherwise = any(isinstance(name, str) and name and not name.lower().endswith(suffixes) for name in names)
    return 2 * sum(named) > len(cells) or (not is_named_otherwise and 2 * sum(fitting) > len(cells))


def _has_bytes(cell: Any) -> bool:
    return isinstance(cell, dict) and isinstance(cell.get("bytes"), bytes)


def only_lists(rows: Sequence[Mapping[str, Any]], column: str | None) -> str | None:
    cells = cells_of(rows, column)
    return column if cells and 2 * sum(isinstance(cell, list) for cell in cells) > len(cells) else None


def only_texts(rows: Sequence[Mapping[str, Any]], column: str | None) -> str | None:
    cells = cells_of(rows, column)
    return column if cells and 2 * sum(isinstance(cell, str) for cell in cells) > len(cells) else None


def cells_of(rows: Sequence[Mapping[str, Any]], column: str | None) -> list[Any]:
    return [] if column is None else [cell for cell in (record.get(column) for record in rows) if cell is not None]

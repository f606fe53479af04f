"""What stands in the columns of a table."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from core.profile import ColumnProfile, ColumnType, TextLengths
from trainer.data.cells import as_category, as_number, is_missing
from trainer.data.tabular_columns import IDENTIFIER_SHARE, MIN_IDENTIFIERS, NUMERIC_SHARE
from trainer.profile.numbers import summarise, top

TEXT_WORDS = 4  # on average, from which on a column of mostly different values is text
TIMES_TRIED = 1000
_TOKENS = re.compile(r"\w+|[^\w\s]")


def profile_column(name: str, cells: Sequence[Any]) -> ColumnProfile:
    present = [cell for cell in cells if not is_missing(cell)]
    values = Counter(_shown(cell) for cell in present)
    kind = type_of(present, len(values))
    numbers = [number for number in map(as_number, present) if number is not None] if kind == "number" else []
    return ColumnProfile(
        name=name,
        type=kind,
        num_missing=len(cells) - len(present),
        num_unique=len(values),
        numbers=summarise(numbers),
        top=[] if kind in ("object", "bytes", "list") else top(values),
        lengths=lengths_of([cell for cell in present if isinstance(cell, str)]) if kind == "text" else None,
    )


def type_of(present: Sequence[Any], num_unique: int) -> ColumnType:
    """By what almost all cells are, as the recipe for tables judges it."""
    if not present:
        return "empty"
    containers: dict[type, ColumnType] = {dict: "object", list: "list", bytes: "bytes"}
    for container, kind in containers.items():
        if any(isinstance(cell, container) for cell in present):
            return kind
    if all(isinstance(cell, bool) for cell in present):
        return "boolean"
    if sum(as_number(cell) is not None for cell in present) >= NUMERIC_SHARE * len(present):
        return "number"
    if all(_is_time(cell) for cell in present[:TIMES_TRIED]):
        return "time"
    num_words = sum(len(str(cell).split()) for cell in present)
    if num_words >= TEXT_WORDS * len(present) and 2 * num_unique > len(present):
        return "text"
    is_identifier = len(present) >= MIN_IDENTIFIERS and num_unique >= IDENTIFIER_SHARE * len(present)
    return "identifier" if is_identifier else "category"


def lengths_of(texts: Sequence[str]) -> TextLengths | None:
    """None without texts."""
    characters = summarise([len(text) for text in texts])
    words = summarise([len(text.split()) for text in texts])
    tokens = summarise([sum(1 for _ in _TOKENS.finditer(text)) for text in texts])
    return None if characters is None or words is None or tokens is None else TextLengths(characters=characters, words=words, tokens=tokens)


def has_mixed_types(cells: Sequence[Any]) -> bool:
    """Whether texts and numbers, or values and lists, stand in one column of a format that tells them apart."""
    kinds = {_family(cell) for cell in cells if not is_missing(cell)}
    return len(kinds) > 1


def _family(cell: Any) -> type:
    return float if isinstance(cell, int | float) and not isinstance(cell, bool) else type(cell)


def _shown(cell: Any) -> str:
    return as_category(cell) if isinstance(cell, str | int | float) else repr(cell)


def _is_time(cell: Any) -> bool:
    if not isinstance(cell, str) or not cell.strip()[:4].isdecimal():
        return False
    try:
        datetime.fromisoformat(cell.strip())
    except ValueError:
        return False
    return True

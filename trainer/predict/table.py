"""Predictions for people: a table as wide as its content, cut to what a line can take."""

from collections.abc import Sequence
from typing import Any

MAX_CELL = 60


def render(rows: Sequence[dict[str, Any]]) -> str:
    """Columns in the order in which they first appear; numbers to the right."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[column]) for line in cells)) for column, name in enumerate(names)]
    numeric = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    lines = [names, ["-" * width for width in widths], *cells]
    return "\n".join("  ".join(_pad(*item) for item in zip(line, widths, numeric, strict=True)).rstrip() for line in lines)


def _pad(text: str, width: int, is_number: bool) -> str:
    return text.rjust(width) if is_number else text.ljust(width)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    text = ", ".join(map(_cell, value)) if isinstance(value, list) else str(value)
    text = text.replace("\n", "⏎").replace("\t", " ")
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"

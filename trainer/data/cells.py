"""What a cell of a table says: nothing, a number, a category."""

import math
from typing import Any

MISSING = frozenset({"", "na", "n/a", "nan", "null", "?"})


def is_missing(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip().lower() in MISSING
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def as_number(cell: Any) -> float | None:
    """None when it is no number. Infinite ones are numbers here; truth values are none."""
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        return None
    try:
        return float(cell)
    except (ValueError, OverflowError):
        return None


def as_category(cell: Any) -> str:
    """One text for one category: ``1``, ``1.0`` and ``"1"`` are the same, however a file types them."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip()

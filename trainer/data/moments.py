"""Points in time as numbers, from what people write into a time column."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.findings import Findings

MOST_SHOWN = 5


def as_moments(cells: Sequence[Any] | None, findings: Findings) -> npt.NDArray[np.float64] | None:
    """One number per cell that grows with time: numbers stay (Unix seconds, years), texts are numbers or ISO 8601.

    A text without a zone is UTC. None, with a fatal finding, when a cell is neither, or when numbers and dates are mixed.
    """
    if cells is None:
        findings.fatal("split time: there is no time column")
        return None
    kinds, moments = set(), np.zeros(len(cells))
    unreadable = []
    for position, cell in enumerate(cells):
        found = _moment(cell)
        if found is None:
            unreadable.append(repr(cell))
        else:
            kinds.add(found[0])
            moments[position] = found[1]
    if unreadable:
        shown = ", ".join(dict.fromkeys(unreadable[:MOST_SHOWN]))
        findings.fatal(f"split time: {len(unreadable):,} cells of the time column are neither numbers nor dates in ISO 8601: {shown}")
    if len(kinds) > 1:
        findings.fatal("split time: the time column mixes numbers and dates")
    return None if unreadable or len(kinds) > 1 else moments


def _moment(cell: Any) -> tuple[str, float] | None:
    try:
        number = float(cell)
        return ("number", number) if math.isfinite(number) else None
    except (TypeError, ValueError):
        pass
    try:
        when = datetime.fromisoformat(cell.strip())
    except (AttributeError, ValueError):
        return None
    return "date", (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()

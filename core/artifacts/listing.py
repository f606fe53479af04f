"""One page of rows that were read newest first, one more than the page holds."""

from collections.abc import Sequence
from typing import TypeVar

from core.wire.base import Page
from core.wire.jobs import Artifact, Checkpoint

Listed = TypeVar("Listed", Artifact, Checkpoint)


def page_of(rows: Sequence[Listed], limit: int) -> Page[Listed]:
    shown = list(rows[:limit])
    return Page(
        data=shown,
        has_more=len(rows) > limit,
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
    )

"""Policies in a world: set, applied, and what went for them."""

from core.retention.apply import apply_retention
from core.retention.policies import change_retention
from core.retention.removals import list_removals
from core.wire.projects import ChangeRetentionRequest, Removal
from tests.ledger.world import World

DAY = 86_400  # seconds


def keep(world: World, *, project: str | None = None, **days: int | None) -> None:
    with world.db.begin() as tx:
        change_retention(tx, project or world.project, ChangeRetentionRequest.model_validate(days), key_id="key_x", now=world.now)


def apply(world: World) -> int:
    return apply_retention(world.db, now=world.now)


def removed(world: World) -> list[Removal]:
    """Newest first."""
    with world.db.read() as tx:
        return list_removals(tx, world.project).data

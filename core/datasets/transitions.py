"""The only writer of a version's state. A move that the table does not allow, or that finds the row elsewhere, changes nothing."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from core.db.dataset_tables import dataset_versions, datasets
from core.errors import IllegalMove
from core.ids import new_id
from core.states import DATASET_MOVES, DatasetState

_NEXT_NUMBER = (
    update(datasets)
    .where(datasets.c.id == bindparam("dataset"))
    .values(last_number=datasets.c.last_number + 1)
    .returning(datasets.c.last_number)
)


def create_version(tx: Connection, dataset_id: str, *, now: datetime, **columns: Any) -> str:
    """A new version begins its life uploading, under the next number; its id."""
    number = tx.execute(_NEXT_NUMBER, {"dataset": dataset_id}).scalar_one()
    version_id = new_id("dsv")
    row = {"id": version_id, "dataset_id": dataset_id, "number": number, "created_at": now, **columns}
    tx.execute(insert(dataset_versions).values(**row, state=DatasetState.UPLOADING))
    return version_id


def move_version(tx: Connection, version_id: str, to: DatasetState, changes: Mapping[str, Any]) -> None:
    """Moves the version and sets ``changes``. IllegalMove unless it is in a state from which it may move there."""
    before = sorted(state for state, targets in DATASET_MOVES.items() if to in targets)
    here = update(dataset_versions).where(dataset_versions.c.id == version_id, dataset_versions.c.state.in_(before))
    if tx.execute(here.values(**changes, state=to)).rowcount != 1:
        present = tx.scalar(select(dataset_versions.c.state).where(dataset_versions.c.id == version_id))
        raise IllegalMove(f"the version is {present}, so it cannot become {to}", param="state")

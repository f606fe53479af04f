"""What a spec that is not submitted yet would wait for."""

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import Connection

from core.datasets.resolve import Reads
from core.jobs.awaited import awaited_of
from core.jobs.fleet import Fleet, Need
from core.recipes.script import isolation_of
from core.spec import JobSpec

_AT_ONCE = datetime.fromtimestamp(0, UTC)


def waiting_for(tx: Connection, spec: JobSpec, reads: Collection[Reads]) -> str:
    """In words, with the datasets that it reads and the workers as they are at this moment."""
    awaited = awaited_of(tx, spec.recipe, [read.version_id for read in reads])
    if awaited is not None:
        return awaited
    need = Need(spec.resources.devices_per_node, spec.resources.accelerator, _AT_ONCE, isolation_of(spec))
    return Fleet.load(tx).waiting_for(need)

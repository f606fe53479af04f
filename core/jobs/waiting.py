"""What a spec that is not submitted yet would wait for."""

from datetime import UTC, datetime

from sqlalchemy import Connection

from core.jobs.fleet import Fleet, Need
from core.recipes.script import isolation_of
from core.spec import JobSpec

_AT_ONCE = datetime.fromtimestamp(0, UTC)


def waiting_for(tx: Connection, spec: JobSpec) -> str:
    """In words, with the workers as they are at this moment."""
    need = Need(spec.resources.devices_per_node, spec.resources.accelerator, _AT_ONCE, isolation_of(spec))
    return Fleet.load(tx).waiting_for(need)

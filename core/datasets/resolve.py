"""Which versions the names in a spec mean at this moment."""

from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, insert

from core.datasets.finding import LATEST, is_coming, readable_version
from core.datasets.validation import VALIDATION
from core.db.base import AnyRow
from core.db.dataset_tables import job_datasets
from core.errors import InvalidInput, Problem
from core.retention.removals import find_removal, told
from core.spec import JobSpec, NamedDataset
from core.states import DatasetState
from core.wire.projects import Kind

Spec = TypeVar("Spec", bound=JobSpec)
PREPARATION = "dataset-preparation"  # the recipe


@dataclass(frozen=True, slots=True)
class Reads:
    """A version that a job reads."""

    version_id: str
    name: str
    number: int
    digest: str | None  # None while a job makes its files


def resolve_datasets(tx: Connection, project_id: str, spec: Spec, *, lock: bool) -> tuple[Spec, dict[str, Reads]]:
    """The spec with the number of each version, and the versions by channel.

    A version may be one that a job validates or prepares: whoever reads it waits. InvalidInput, with every place, for names that
    mean nothing here and for versions that never will be ready. With ``lock`` nobody deletes or settles the versions before the
    transaction ends.
    """
    channels, reads, problems = dict(spec.channels()), {}, []
    for channel, dataset in spec.channels().items():
        if not isinstance(dataset, NamedDataset):
            continue
        row = readable_version(tx, project_id, dataset.name, dataset.version, shared_lock=lock)
        problem = _find_problem(spec, dataset, row)
        if problem is not None or row is None:
            removal = find_removal(tx, project_id, Kind.DATASETS, f"{dataset.name}@{dataset.version}") if row is None else None
            problems.append(Problem(spec.channel_pointer(channel), *((told(removal), "removed") if removal else problem or ())))
            continue
        channels[channel] = dataset.model_copy(update={"version": row.number})
        reads[channel] = Reads(row.id, dataset.name, row.number, row.digest)
    if problems:
        raise InvalidInput(problems=problems)
    return (spec.with_channels(channels) if reads else spec), reads


def note_reads(tx: Connection, job_id: str, reads: dict[str, Reads]) -> None:
    """Keeps what a job reads beside its spec, so that a version which is needed is not deleted."""
    if reads:
        rows = [{"job_id": job_id, "channel": channel, "version_id": read.version_id} for channel, read in reads.items()]
        tx.execute(insert(job_datasets), rows)


def _find_problem(spec: JobSpec, dataset: NamedDataset, row: AnyRow | None) -> tuple[str, str] | None:
    """Why the version cannot be read, and the word for it. A validation does not wait, so what it reads must be there."""
    if row is None:
        if dataset.version == LATEST:
            return f"this project has no dataset {dataset.name!r} with a version that is ready or on its way", "not_found"
        return f"there is no dataset version {dataset.name}@{dataset.version}", "not_found"
    if row.state in (DatasetState.READY, DatasetState.VALIDATING) or (is_coming(row) and spec.recipe != VALIDATION):
        return None
    if row.state == DatasetState.INVALID and spec.recipe == PREPARATION and row.num_files:
        return None  # what is wrong with its rows may be what the steps mend
    why = f": {row.message}" if row.message else ""
    return f"{dataset.name}@{row.number} is {row.state}, not ready{why}", "not_ready"

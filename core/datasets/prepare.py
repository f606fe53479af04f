"""Has a job make a new version from another one, by declared steps. It waits for a source that is not ready yet."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, select, update

from core.datasets.finding import find_version, lock_dataset, readable_version
from core.datasets.queries import get_version
from core.datasets.resolve import PREPARATION
from core.datasets.transitions import create_version
from core.db.conflict import insert_or
from core.db.dataset_tables import dataset_versions, datasets
from core.errors import InvalidInput, Problem
from core.ids import new_id
from core.jobs.submit import submit
from core.recipes import AnyJobSpec, parse_spec
from core.wire.datasets import DatasetVersion, Lineage, PrepareRequest

_POINTERS = (("/data/steps", "/steps"), ("/dataset", "/version"))


def prepare_version(
    tx: Connection, project_id: str, name: str, request: PrepareRequest, *, now: datetime, max_queued: int
) -> DatasetVersion:
    """The version that will be, uploading until the job has ended. Steps that do not fit are InvalidInput, each with its place."""
    source = readable_version(tx, project_id, name, request.version) or find_version(tx, project_id, name, request.version)
    target = request.into or name
    _ensure_dataset(tx, project_id, target, now)
    dataset = lock_dataset(tx, project_id, target)  # before the version, as everywhere
    with pointing_into_request():
        spec = preparation_spec(name, source.number, request)
        job_id = submit(tx, project_id=project_id, spec=spec, now=now, max_queued=max_queued)
    lineage = Lineage(dataset=name, version=source.number, digest=source.digest, steps=request.steps, seed=request.seed, job_id=job_id)
    version_id = create_version(tx, dataset.id, now=now, lineage=lineage.model_dump(mode="json"))
    tx.execute(update(dataset_versions).where(dataset_versions.c.id == version_id).values(job_id=job_id))
    number = tx.scalars(select(dataset_versions.c.number).where(dataset_versions.c.id == version_id)).one()
    return get_version(tx, project_id, target, number)


def preparation_spec(name: str, number: int, request: PrepareRequest) -> AnyJobSpec:
    spec = {
        "recipe": PREPARATION,
        "dataset": {"name": name, "version": number},
        "data": {"steps": request.steps},
        "seed": request.seed,
    }
    return parse_spec(json.dumps(spec))


@contextmanager
def pointing_into_request() -> Iterator[None]:
    """Places in the spec become those in the request."""
    try:
        yield
    except InvalidInput as error:
        raise type(error)(problems=[_ours(problem) for problem in error.problems]) from None


def _ensure_dataset(tx: Connection, project_id: str, name: str, now: datetime) -> None:
    row = {"id": new_id("ds"), "project_id": project_id, "name": name, "task": None, "created_at": now}
    tx.execute(insert_or(tx, datasets).on_conflict_do_nothing(), row)


def _ours(problem: Problem) -> Problem:
    """The place in the request instead of that in the spec."""
    for theirs, ours in _POINTERS:
        if problem.pointer.startswith(theirs):
            return Problem(ours + problem.pointer.removeprefix(theirs), problem.message, problem.code)
    return problem

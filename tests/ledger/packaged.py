"""Jobs that have succeeded and left a package, in a world: what models are made of."""

import hashlib

from core.access.projects import ensure_project
from core.artifacts.artifacts import commit_artifacts
from core.artifacts.blobs import note_blob
from core.manifest import Manifest, ManifestFile
from core.models.delete import delete_version
from core.models.promote import promote
from core.models.queries import list_model_events
from core.models.register import Registered, register_job
from core.models.settle import settle_models
from core.states import Reason
from core.wire.models import ModelEvent, ModelVersion, PromoteRequest
from core.wire.worker import ArtifactsRequest, Claim
from tests.ledger.world import World

KEY = "key_of_a_person"
FILES = {"model.safetensors": b"weights", "config.json": b"{}"}


def listed(files: dict[str, bytes]) -> tuple[ManifestFile, ...]:
    return tuple(ManifestFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest()) for path, data in files.items())


def ship(world: World, held: Claim, files: dict[str, bytes]) -> None:
    """The files as artifacts of the attempt."""
    manifest = Manifest(files=listed(files))
    with world.fenced(held) as (tx, fence):
        for file in manifest.files:
            note_blob(tx, file.sha256, file.size, world.now)
        commit_artifacts(tx, fence, ArtifactsRequest(manifest=manifest), world.now)


def complete(world: World, job_id: str, *, files: dict[str, bytes] | None = None, **metrics: float) -> None:
    """Runs the only queued job to its end, as the route does that hears of it."""
    held = world.run(world.node(f"node-of-{job_id[-20:]}"))
    assert held.job_id == job_id
    finish_well(world, held, files=files, metrics=metrics)


def finish_well(world: World, held: Claim, *, files: dict[str, bytes] | None = None, metrics: dict[str, float]) -> None:
    chosen = FILES if files is None else files
    if chosen:
        ship(world, held, chosen)
    world.finish(held, Reason.COMPLETED, metrics=metrics)
    with world.db.begin() as tx:
        settle_models(tx, world.now, job_id=held.job_id)


def trained(world: World, *, files: dict[str, bytes] | None = None, metrics: dict[str, float] | None = None, **spec: object) -> str:
    """A job that has succeeded with these files and final metrics."""
    job_id = world.submit(**spec)
    complete(world, job_id, files=files, **(metrics or {}))
    return job_id


def versioned(world: World, name: str = "digits", **job: object) -> ModelVersion:
    """One more version of the model, of a job of its own."""
    job_id = trained(world, **job)  # type: ignore[arg-type]
    with world.db.begin() as tx:
        return register_job(tx, world.project, name, job_id, key_id=KEY, now=world.now).version


def register(world: World, job_id: str, name: str = "digits", *, project: str | None = None) -> Registered:
    with world.db.begin() as tx:
        return register_job(tx, project or world.project, name, job_id, key_id=KEY, now=world.now)


def point(world: World, alias: str, version: int | str, name: str = "digits") -> None:
    with world.db.begin() as tx:
        request = PromoteRequest(version=version)
        assert promote(tx, world.project, name, alias, request, key_id=KEY, now=world.now, max_queued=10).outcome == "promoted"


def history(world: World, name: str = "digits", *, alias: str | None = None) -> list[ModelEvent]:
    with world.db.read() as tx:
        return list_model_events(tx, world.project, name, alias=alias)


def delete(world: World, reference: int | str, name: str = "digits") -> None:
    with world.db.begin() as tx:
        delete_version(tx, world.project, name, reference, key_id=KEY, now=world.now)


def another_project(world: World) -> str:
    with world.db.begin() as tx:
        return ensure_project(tx, "another", world.now)

"""Whose an object is: the projects that have sent it or refer to it."""

from sqlalchemy import Connection, select, union

from core.db.dataset_tables import dataset_files, dataset_versions, datasets
from core.db.model_tables import model_files, model_versions, models
from core.db.tables import artifacts, attempts, checkpoint_blobs, checkpoints, jobs, log_streams, projects
from core.db.upload_tables import job_code, uploads
from core.errors import NotFound


def project_of(tx: Connection, owner: str) -> str:
    """The project that an upload is for: ``owner`` itself, or the one whose attempt it is. NotFound when there is neither."""
    of_attempt = select(jobs.c.project_id).join(attempts, attempts.c.job_id == jobs.c.id).where(attempts.c.id == owner)
    found = tx.scalar(select(projects.c.id).where(projects.c.id == owner).union_all(of_attempt))
    if found is None:
        raise NotFound
    return str(found)


def holders(tx: Connection, sha256: str) -> set[str]:
    """Projects that have sent the object, and those with an artifact, checkpoint, log, dataset, model or code that needs it."""
    of_job = select(jobs.c.project_id)
    found = union(
        select(uploads.c.project_id).where(uploads.c.sha256 == sha256),
        of_job.join(artifacts, artifacts.c.job_id == jobs.c.id).where(artifacts.c.sha256 == sha256),
        of_job.join(job_code, job_code.c.job_id == jobs.c.id).where(job_code.c.sha256 == sha256),
        of_job.join(attempts, attempts.c.job_id == jobs.c.id)
        .join(log_streams, log_streams.c.attempt_id == attempts.c.id)
        .where(log_streams.c.blob_sha256 == sha256),
        of_job.join(checkpoints, checkpoints.c.job_id == jobs.c.id)
        .join(checkpoint_blobs, checkpoint_blobs.c.checkpoint_id == checkpoints.c.id)
        .where(checkpoint_blobs.c.sha256 == sha256),
        select(datasets.c.project_id)
        .join(dataset_versions, dataset_versions.c.dataset_id == datasets.c.id)
        .join(dataset_files, dataset_files.c.version_id == dataset_versions.c.id)
        .where(dataset_files.c.sha256 == sha256),
        select(models.c.project_id)
        .join(model_versions, model_versions.c.model_id == models.c.id)
        .join(model_files, model_files.c.version_id == model_versions.c.id)
        .where(model_files.c.sha256 == sha256),
    )
    return set(tx.scalars(found))

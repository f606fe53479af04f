"""``download`` and ``artifacts``."""

from pathlib import Path
from typing import Annotated

import typer

from trainyard.cli.bars import shown_downloads, tell_downloaded
from trainyard.cli.session import AsJson, JobArgument, find_job, print_json, print_table, session_of
from trainyard.cli.words import size
from trainyard.client import Client
from trainyard.errors import NotFound


def register(app: typer.Typer) -> None:
    app.command()(artifacts)
    app.command()(download)


def artifacts(context: typer.Context, job: JobArgument = "last", as_json: AsJson = False) -> None:
    """List the files that a job has left."""
    with session_of(context).client() as client:
        found = list(client.artifacts(find_job(client, job)))
    if as_json:
        print_json(found)
        return
    rows = [(item.path, size(item.size), item.media_type, item.sha256) for item in found]
    print_table(("PATH", "SIZE", "TYPE", "SHA-256"), rows, empty="no artifacts yet", wraps="TYPE")


def download(
    context: typer.Context,
    job: JobArgument = "last",
    folder: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", help="By default a folder named after the job.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a job's artifacts and verify them; run it again to go on with a broken download."""
    with session_of(context).client() as client:
        job_id = find_job(client, job)
        target = folder or Path(job_id)
        paths = _download(client, job_id, target)
    if not paths:
        raise NotFound(f"{job_id} has left no artifacts yet", status=404, code="no_artifacts")
    tell_downloaded({"job_id": job_id}, target, paths, as_json=as_json)


def _download(client: Client, job_id: str, folder: Path) -> list[Path]:
    with shown_downloads() as advance:
        return client.download(job_id, folder, on_bytes=advance)

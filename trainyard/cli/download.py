"""``download`` and ``artifacts``."""

from pathlib import Path
from typing import Annotated

import typer

from trainyard.archive import ArchiveKind
from trainyard.cli.bars import shown_downloads, tell_downloaded
from trainyard.cli.session import AsJson, JobArgument, console, find_job, print_json, print_table, session_of
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
    place: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="By default named after the job. With --archive: the file, or where to put it."),
    ] = None,
    archive: Annotated[ArchiveKind | None, typer.Option(help="One file instead of a folder. It cannot go on after it broke off.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a job's artifacts and verify them; run it again to go on with a broken download."""
    with session_of(context).client() as client:
        job_id = find_job(client, job)
        if archive is not None:
            _download_archive(client, job_id, place, archive, as_json=as_json)
        else:
            _download(client, job_id, place or Path(job_id), as_json=as_json)


def _download(client: Client, job_id: str, folder: Path, *, as_json: bool) -> None:
    with shown_downloads() as advance:
        paths = client.download(job_id, folder, on_bytes=advance)
    if not paths:
        raise _nothing(job_id)
    tell_downloaded({"job_id": job_id}, folder, paths, as_json=as_json)


def _download_archive(client: Client, job_id: str, place: Path | None, kind: ArchiveKind, *, as_json: bool) -> None:
    """``place`` may be a folder, which gets a file named after the job."""
    target = place or Path()
    if target.is_dir():
        target /= f"{job_id}.{kind}"
    with shown_downloads() as advance:
        found = client.download_archive(job_id, target, format=kind, on_bytes=advance)
    if not found:
        raise _nothing(job_id)
    if as_json:
        print_json({"job_id": job_id, "archive": str(target), "files": [item.path for item in found]})
    else:
        console().print(f"{target} holds {len(found)} files, each with the SHA-256 that the server announced")


def _nothing(job_id: str) -> NotFound:
    return NotFound(f"{job_id} has left no artifacts yet", status=404, code="no_artifacts")

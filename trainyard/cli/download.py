"""``download`` and ``artifacts``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from trainyard.cli.session import AsJson, JobArgument, console, find_job, print_json, print_table, session_of
from trainyard.cli.words import size
from trainyard.client import Client
from trainyard.downloads import Advance, RemoteFile
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
    if as_json:
        print_json({"job_id": job_id, "folder": str(target), "files": [str(path) for path in paths]})
    else:
        console().print(f"{len(paths)} files in {target}, each with the SHA-256 that the server announced")


def _download(client: Client, job_id: str, folder: Path) -> list[Path]:
    with shown_downloads() as advance:
        return client.download(job_id, folder, on_bytes=advance)


@contextmanager
def shown_downloads() -> Iterator[Advance]:
    """A bar for each file; what comes out hears of their bytes."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def advance(file: RemoteFile, num_bytes: int) -> None:
            if file.path not in tasks:
                tasks[file.path] = progress.add_task(file.path.replace("{", "{{"), total=file.size)
            progress.update(tasks[file.path], completed=num_bytes)
            if num_bytes >= file.size:
                progress.update(tasks[file.path], visible=False)  # thousands of them would not fit

        yield advance

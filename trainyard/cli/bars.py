"""Bars that show bytes on their way, and the line that says they have arrived."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from trainyard.cli.session import console, print_json
from trainyard.downloads import Advance, Coming
from trainyard.pushing import LocalFile, Told


def _bars() -> Progress:
    words, bar = TextColumn("{task.description}"), BarColumn()
    columns = (words, bar, DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console(stderr=True), transient=True)


@contextmanager
def shown_downloads() -> Iterator[Advance]:
    """A bar for each file, or for the archive of all; what comes out hears of their bytes."""
    with _bars() as progress:
        tasks: dict[str, TaskID] = {}

        def advance(file: Coming, num_bytes: int) -> None:
            if file.path not in tasks:
                tasks[file.path] = progress.add_task(file.path.replace("{", "{{"), total=file.size)
            progress.update(tasks[file.path], completed=num_bytes)
            if num_bytes >= file.size:
                progress.update(tasks[file.path], visible=False)  # thousands of them would not fit

        yield advance


@contextmanager
def shown_push(files: Sequence[LocalFile]) -> Iterator[Told]:
    """One bar for reading all files and one for sending them."""
    total = sum(file.size for file in files)
    with _bars() as progress:
        tasks: dict[str, TaskID] = {what: progress.add_task(what, total=total) for what in ("reading", "sending")}
        through: dict[tuple[str, str], int] = {}

        def told(what: Literal["reading", "sending"], file: LocalFile, num_bytes: int) -> None:
            progress.advance(tasks[what], num_bytes - through.get((what, file.name), 0))
            through[what, file.name] = num_bytes

        yield told


def tell_downloaded(what: dict[str, str | int], folder: Path, paths: Sequence[Path], *, as_json: bool) -> None:
    """``what`` names the thing in JSON."""
    if as_json:
        print_json({**what, "folder": str(folder), "files": [str(path) for path in paths]})
    else:
        console().print(f"{len(paths)} files in {folder}, each with the SHA-256 that the server announced")

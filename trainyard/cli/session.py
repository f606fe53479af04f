"""What every command shares: where the server is, whether a program reads the output, and the two ways to print."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from pydantic_core import to_json
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainyard.client import Client
from trainyard.errors import NotFound
from trainyard.retrying import RetryPolicy

LAST = "last"
PIPE_WIDTH = 400


@dataclass
class Session:
    """The options before the command, and ``--json`` after it."""

    url: str | None = None
    home: Path | None = None
    as_json: bool = False

    @contextmanager
    def client(self) -> Iterator[Client]:
        # A person waits: a server that is not there is told after a second or two.
        with Client(self.url, home=self.home, retry=RetryPolicy(max_tries=4)) as client:
            yield client


def session_of(context: typer.Context) -> Session:
    session: Session = context.find_root().obj
    return session


def _remember_json(context: typer.Context, value: bool) -> bool:
    session_of(context).as_json = value
    return value


AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.", callback=_remember_json)]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="A job's id, or 'last' for the newest job.")]


def find_job(client: Client, reference: str) -> str:
    """The id that a command line means. Raises NotFound when there is no last job."""
    if reference != LAST:
        return reference
    for job in client.jobs(limit=1):
        return job.id
    raise NotFound("there is no job yet", status=404, code="not_found")


def find_worker(client: Client, reference: str) -> str:
    """The id of the worker with this id or name. Raises NotFound."""
    for worker in client.workers():
        if reference in (worker.id, worker.name):
            return worker.id
    raise NotFound(f"there is no worker {reference!r}", status=404, code="not_found")


def console(*, stderr: bool = False) -> Console:
    # What servers and jobs say is text, never markup. A file or a pipe has no width to fit into.
    out = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    return out if out.is_terminal else Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=PIPE_WIDTH)


def print_json(value: BaseModel | Iterable[BaseModel] | dict[str, Any] | list[Any]) -> None:
    """One JSON document on stdout: an object, or an array for a list."""
    document = value if isinstance(value, BaseModel | dict) else list(value)
    typer.echo(to_json(document, indent=2))


def print_table(columns: Iterable[str], rows: Iterable[Iterable[str | Text]], *, empty: str, wraps: str | None = None) -> None:
    """``wraps`` is the column that gives way on a narrow terminal; ids are never broken."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != wraps)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    out = console()
    out.print(table) if table.row_count else out.print(Text(empty, style="dim"))

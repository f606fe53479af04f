"""``logs`` and ``events``."""

from typing import Annotated

import typer

from core.wire.jobs import Event, LogPage
from trainyard.cli.session import AsJson, JobArgument, console, find_job, print_json, session_of
from trainyard.client import Client


def register(app: typer.Typer) -> None:
    app.command()(logs)
    app.command()(events)


def logs(
    context: typer.Context,
    job: JobArgument = "last",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="By default the newest.")] = None,
    rank: Annotated[int | None, typer.Option(min=0, help="By default all.")] = None,
    stream: Annotated[str | None, typer.Option(help="stdout or stderr; by default both.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what the ranks of a job print. With --json: one object per line and piece."""
    with session_of(context).client() as client:
        job_id = find_job(client, job)
        if follow:
            pieces = client.logs(job_id, attempt=attempt, rank=rank, stream=stream)
        else:
            pieces = client.log_pages(job_id, attempt=attempt, rank=rank, stream=stream)
        show = PrefixedLines(is_live=follow)
        for piece in pieces:
            typer.echo(piece.model_dump_json(exclude={"streams"})) if as_json else show.add(piece)
        show.flush()


class PrefixedLines:
    """Whole lines, each with its rank in front. Live, streams come by turns, and an unfinished line waits for its rest."""

    def __init__(self, *, is_live: bool) -> None:
        self._is_live = is_live
        self._unfinished: dict[tuple[int, int, str], str] = {}
        self._attempt: int | None = None

    def add(self, piece: LogPage) -> None:
        if self._attempt not in (None, piece.attempt):
            self.flush()
            typer.echo(f"--- attempt {piece.attempt} ---", err=True)
        self._attempt = piece.attempt
        key = (piece.attempt, piece.rank, piece.stream)
        if not self._is_live and key not in self._unfinished:
            self.flush()
        # Only "\n" ends a line here: a progress bar's "\r" belongs to its line.
        *lines, rest = (self._unfinished.pop(key, "") + piece.text).split("\n")
        for line in lines:
            self._print(piece.rank, line)
        if rest:
            self._unfinished[key] = rest

    def flush(self) -> None:
        for (_, rank, _), line in self._unfinished.items():
            self._print(rank, line)
        self._unfinished.clear()

    def _print(self, rank: int, line: str) -> None:
        typer.echo(f"[{rank}] {line}")


def events(
    context: typer.Context,
    job: JobArgument = "last",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    after: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print a job's journal. With --json: an array, or with -f one object per line."""
    with session_of(context).client() as client:
        job_id = find_job(client, job)
        if as_json and not follow:
            print_json(client.events(job_id, after=after))
            return
        _print_events(client, job_id, after, follow=follow, as_json=as_json)


def _print_events(client: Client, job_id: str, after: int, *, follow: bool, as_json: bool) -> None:
    out = console()
    for event in client.events(job_id, after=after, follow_on=follow):
        typer.echo(event.model_dump_json()) if as_json else out.print(_line(event), soft_wrap=True)


def _line(event: Event) -> str:
    attempt = f"attempt {event.attempt}"
    is_said = event.attempt is None or attempt in event.message
    message, _, more = event.message.partition("\n")  # the rest is in the job's failure, which `trainyard status` shows
    return f"{event.seq:>4}  {event.at:%H:%M:%S}  {event.type:<22}  {message}" + " ..." * bool(more) + ("" if is_said else f" ({attempt})")

"""``jobs``, ``status``, ``attempts``, ``checkpoints``, and what steers a job: ``cancel``, ``pause``, ``resume``."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from core.states import JobState
from core.wire.jobs import Job
from trainyard.cli.exits import code_of_job
from trainyard.cli.session import AsJson, JobArgument, console, find_job, print_json, print_table, session_of
from trainyard.cli.watching import watch_job
from trainyard.cli.words import ago, elapsed, number, progress_line, size, state_text
from trainyard.client import Client


def register(app: typer.Typer) -> None:
    for command in (jobs, status, attempts, checkpoints, cancel, pause, resume):
        app.command()(command)


def jobs(
    context: typer.Context,
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Only jobs of this recipe.")] = None,
    label: Annotated[str | None, typer.Option(metavar="NAME=VALUE", help="Only jobs with this label.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with session_of(context).client() as client:
        found = list(client.jobs(state=state, recipe=recipe, label=label, limit=limit))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            job.id,
            job.name or "-",
            job.recipe,
            state_text(job.state),
            progress_line(job) if not job.is_terminal else _result(job),
            ago(job.created_at),
        )
        for job in found
    ]
    print_table(("JOB", "NAME", "RECIPE", "STATE", "PROGRESS", "CREATED"), rows, empty="no jobs", wraps="PROGRESS")


def status(
    context: typer.Context,
    job: JobArgument = "last",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it until it ends; exit 1 if it failed, 5 if cancelled.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one job; with --watch until it has ended."""
    with session_of(context).client() as client:
        job_id = find_job(client, job)
        found = watch_job(client, job_id, console(stderr=as_json)) if watch else client.job(job_id)
    if as_json:
        print_json(found)
    else:
        _show(found)
    raise typer.Exit(code_of_job(found) if watch else 0)


def attempts(context: typer.Context, job: JobArgument = "last", as_json: AsJson = False) -> None:
    """List the attempts of a job, newest first."""
    with session_of(context).client() as client:
        found = list(client.attempts(find_job(client, job)))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            str(item.number),
            item.state.value,
            item.reason.value if item.reason else "-",
            item.worker or "-",
            item.launched or "-",
            "-" if item.resumed_from_step is None else str(item.resumed_from_step),
            ago(item.created_at),
        )
        for item in found
    ]
    print_table(("ATTEMPT", "STATE", "REASON", "WORKER", "LAUNCHED", "RESUMED FROM", "CREATED"), rows, empty="not attempted yet")


def checkpoints(context: typer.Context, job: JobArgument = "last", as_json: AsJson = False) -> None:
    """List the checkpoints of a job that the server holds, newest first."""
    with session_of(context).client() as client:
        found = list(client.checkpoints(find_job(client, job)))
    if as_json:
        print_json(found)
        return
    rows = [
        (str(item.step), str(item.attempt), size(item.num_bytes), "best" if item.is_best else "", ago(item.created_at), item.id)
        for item in found
    ]
    print_table(("STEP", "ATTEMPT", "SIZE", "", "STORED", "ID"), rows, empty="no checkpoints yet")


def cancel(context: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Cancel a job; one that has ended stays as it is."""
    _steer(context, job, lambda client, job_id: client.cancel(job_id), as_json)


def pause(context: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Let a job write a checkpoint and give its devices back."""
    _steer(context, job, lambda client, job_id: client.pause(job_id), as_json)


def resume(context: typer.Context, job: JobArgument, as_json: AsJson = False) -> None:
    """Queue a paused job again."""
    _steer(context, job, lambda client, job_id: client.resume(job_id), as_json)


def _steer(context: typer.Context, job: str, verb: Callable[[Client, str], Job], as_json: bool) -> None:
    with session_of(context).client() as client:
        answer = verb(client, find_job(client, job))
    print_json(answer) if as_json else console().print(f"{answer.id} {answer.state.value}")


def _result(job: Job) -> str:
    accuracy = job.metrics.get("test_accuracy")
    words = [job.reason.value] if job.reason and job.state is not JobState.SUCCEEDED else []
    words += [f"test accuracy {number(accuracy)}"] if accuracy is not None else []
    return "  ".join(words) or "-"


def _show(job: Job) -> None:
    grid = Table.grid(padding=(0, 2))
    for name, value in _facts(job):
        grid.add_row(Text(name, style="dim"), value if isinstance(value, Text) else Text(value))
    console().print(grid)


def _facts(job: Job) -> list[tuple[str, str | Text]]:
    facts: list[tuple[str, str | Text]] = [
        ("job", f"{job.id}  {job.name or ''}".rstrip()),
        ("recipe", job.recipe),
        ("state", Text.assemble(state_text(job.state), f"  ({job.reason.value})" if job.reason else "")),
    ]
    if not job.is_terminal:
        facts.append(("now", progress_line(job)))
    facts.append(("attempts", str(job.num_attempts)))
    facts += [("created", ago(job.created_at)), ("ran for", elapsed(job))]
    facts += [(name, number(value)) for name, value in sorted(job.metrics.items()) if job.is_terminal]
    if job.failure:
        where = "".join(
            f", {word} {value}" for word, value in (("attempt", job.failure.attempt), ("rank", job.failure.rank)) if value is not None
        )
        facts.append(("failure", Text(f"{job.failure.reason.value}{where}: {job.failure.message}", style="red")))
        if evidence := job.failure.stack or job.failure.log_tail:
            facts.append(("evidence", evidence.rstrip()))
    return facts

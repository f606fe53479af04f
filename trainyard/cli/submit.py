"""``submit`` and ``validate``."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from core.wire.jobs import Job
from trainyard.cli.exits import code_of_job
from trainyard.cli.session import AsJson, Session, console, print_json, session_of
from trainyard.cli.watching import watch_job
from trainyard.cli.words import outlook_lines
from trainyard.client import Client
from trainyard.errors import BadInput
from trainyard.specs import parse_object, read_spec, with_settings

SpecFile = Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A spec as JSON; '-' reads it from stdin.")]
RecipeOption = Annotated[str | None, typer.Option(help="Start from an empty spec of this recipe instead of a file.")]
Settings = Annotated[list[str] | None, typer.Option("-p", "--set", metavar="KEY=VALUE", help="Such as -p training.epochs=3; repeatable.")]


def register(app: typer.Typer) -> None:
    app.command()(submit)
    app.command()(validate)


def submit(
    context: typer.Context,
    file: SpecFile = None,
    recipe: RecipeOption = None,
    settings: Settings = None,
    key: Annotated[str | None, typer.Option("--idempotency-key", help="The same key again stores nothing twice.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show the job until it ends; exit 1 if it failed, 5 if cancelled.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job: trainyard submit FILE, or --recipe NAME -p key=value."""
    spec = spec_of(file, recipe, settings)
    session = session_of(context)
    with session.client() as client:
        job = client.submit(spec, idempotency_key=key)
        if watch:
            job = _watched(client, session, job)
        elif not as_json:
            console().print(f"{job.id} {job.state.value}\nWatch it: trainyard status --watch {job.id}")
    if as_json:
        print_json(job)
    raise typer.Exit(code_of_job(job) if watch else 0)


def validate(
    context: typer.Context, file: SpecFile = None, recipe: RecipeOption = None, settings: Settings = None, as_json: AsJson = False
) -> None:
    """Check a spec without submitting it; prints it with every default filled in."""
    spec = spec_of(file, recipe, settings)
    with session_of(context).client() as client:
        report = client.validate(spec)
    if as_json:
        print_json(report)
        return
    typer.echo(report.spec.model_dump_json(indent=2))
    waits = f"; would wait for {report.waiting_for}" if report.waiting_for else ""
    console(stderr=True).print(f"valid{waits}")
    for line in outlook_lines(report):
        console(stderr=True).print(line)


def spec_of(file: Path | None, recipe: str | None, settings: list[str] | None) -> dict[str, Any]:
    """The spec that a command line describes."""
    if (file is None) == (recipe is None):
        raise BadInput("give either a spec FILE or --recipe NAME")
    if file is None:
        start: dict[str, Any] = {"recipe": recipe}
    elif str(file) == "-":
        start = parse_object(sys.stdin.read(), source="stdin")
    else:
        start = read_spec(file)
    return with_settings(start, settings or ())


def _watched(client: Client, session: Session, job: Job) -> Job:
    return watch_job(client, job.id, console(stderr=session.as_json))

"""``project show|retain|removals``."""

from typing import Annotated

import typer

from core.wire.projects import Kind, Project
from trainyard.cli.session import AsJson, console, print_json, print_table, session_of
from trainyard.cli.words import ago, size
from trainyard.errors import BadInput

FOR_EVER = "forever"

project = typer.Typer(help="The project, and how long it keeps what it has.", no_args_is_help=True, rich_markup_mode=None)
Named = Annotated[str | None, typer.Option("--project", help="Another project than your own; operators only.")]
Wanted = Annotated[str | None, typer.Option(metavar="DAYS", help=f"A number of days, or {FOR_EVER!r}.")]


def register(app: typer.Typer) -> None:
    app.add_typer(project, name="project")


@project.command()
def show(context: typer.Context, name: Named = None, as_json: AsJson = False) -> None:
    """Show how long the project keeps what it has."""
    with session_of(context).client() as client:
        found = client.project(project=name)
    print_json(found) if as_json else _print(found)


@project.command()
def retain(
    context: typer.Context,
    artifacts: Wanted = None,
    checkpoints: Wanted = None,
    logs: Wanted = None,
    datasets: Wanted = None,
    name: Named = None,
    as_json: AsJson = False,
) -> None:
    """Change how long jobs that have ended keep artifacts, checkpoints and logs, and how long unused versions of datasets are kept.

    What is over its time is removed within minutes, for good.
    """
    given = {Kind.ARTIFACTS: artifacts, Kind.CHECKPOINTS: checkpoints, Kind.LOGS: logs, Kind.DATASETS: datasets}
    days = {kind: _days(kind, text) for kind, text in given.items() if text is not None}
    if not days:
        raise BadInput(f"say what to keep how long: --{Kind.LOGS} 30, or --{Kind.LOGS} {FOR_EVER}")
    with session_of(context).client() as client:
        found = client.retain(days, project=name)
    print_json(found) if as_json else _print(found)


@project.command()
def removals(context: typer.Context, name: Named = None, as_json: AsJson = False) -> None:
    """List what was removed, when, and by which rule."""
    with session_of(context).client() as client:
        found = list(client.removals(project=name))
    if as_json:
        print_json(found)
        return
    rows = [(item.kind, item.subject, size(item.num_bytes), ago(item.removed_at), item.rule) for item in found]
    print_table(("KIND", "OF", "SIZE", "REMOVED", "RULE"), rows, empty="nothing was removed")


def _days(kind: Kind, text: str) -> int | None:
    if text == FOR_EVER:
        return None
    if not text.isdecimal():
        raise BadInput(f"--{kind} takes a number of days or {FOR_EVER!r}, not {text!r}")
    return int(text)


def _print(found: Project) -> None:
    out = console()
    out.print(f"project {found.name}")
    for kind in Kind:
        days = found.retention.days(kind)
        out.print(f"  {kind}: {FOR_EVER if days is None else f'{days} days'}")

"""The root of the command line."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from trainyard.cli import (
    datasets,
    doctor,
    download,
    jobs,
    keys,
    metrics,
    models,
    output,
    predict,
    project,
    recipes,
    run,
    secrets,
    submit,
    up,
    workers,
)
from trainyard.cli.exits import EPILOG, reported
from trainyard.cli.session import AsJson, Session, print_json, session_of
from trainyard.transport import package_version


class Commands(TyperGroup):
    """Every command's errors are reported in one place."""

    def invoke(self, ctx: Any) -> Any:
        ctx.obj = ctx.obj or Session()
        with reported(lambda: bool(ctx.obj.as_json)):
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, epilog=EPILOG, rich_markup_mode=None
)


@app.callback()
def options(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="State folder of 'trainyard up'; by default TRAINYARD_HOME.")] = None,
    url: Annotated[str | None, typer.Option(help="The server; by default TRAINYARD_URL, else the one of the state folder.")] = None,
) -> None:
    """Trainyard: POST a training job, watch it, download the trained model."""
    session = session_of(context)
    session.home, session.url = home, url


@app.command()
def version(context: typer.Context, as_json: AsJson = False) -> None:
    """Print the version."""
    print_json({"version": package_version()}) if as_json else typer.echo(package_version())


for group in (
    up,
    submit,
    run,
    jobs,
    output,
    metrics,
    download,
    datasets,
    models,
    predict,
    recipes,
    workers,
    secrets,
    project,
    keys,
    doctor,
):
    group.register(app)

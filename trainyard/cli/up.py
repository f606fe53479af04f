"""``up``: the whole service on this machine."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from trainyard.cli.session import console, session_of
from trainyard.settings import state_folder
from trainyard.up.folder import StateFolder
from trainyard.up.plan import UpOptions
from trainyard.up.run import run_up

EXAMPLE = '{"recipe":"image-classification","dataset":{"builtin":"digits"},"resources":{"devices_per_node":2}}'


def register(app: typer.Typer) -> None:
    app.command()(up)


def up(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(help="Address to serve on; others than loopback are reachable by everyone with a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes any free one.")] = 8000,
    cpu_slots: Annotated[int | None, typer.Option(min=1, max=64, help="Ranks at a time on a machine without GPUs; by default 2.")] = None,
    home: Annotated[Path | None, typer.Option(help="State folder; by default TRAINYARD_HOME, else ~/.local/share/trainyard.")] = None,
    database_url: Annotated[str | None, typer.Option(help="By default TRAINYARD_DATABASE_URL, else SQLite in the state folder.")] = None,
    broker_url: Annotated[str | None, typer.Option(help="By default TRAINYARD_BROKER_URL, else a private Redis.")] = None,
) -> None:
    """Run the whole service here: API, node and a private Redis. Ctrl-C stops it in order, twice at once."""
    out = console()

    def say(name: str, text: str) -> None:
        out.print(Text.assemble((f"{name:<6}", "bold"), text), soft_wrap=True)

    options = UpOptions(
        home=state_folder(home or session_of(context).home),
        host=host,
        port=port,
        cpu_slots=cpu_slots,
        database_url=database_url,
        broker_url=broker_url,
    )
    say("home", str(options.home))
    run_up(options, say, lambda folder, url: out.print(next_steps(folder, url), soft_wrap=True))


def next_steps(folder: StateFolder, url: str) -> str:
    """What to do now; names the file of the key, never the key."""
    curl = f"curl -sS -H @{folder.admin_header}"
    return "\n".join(
        (
            "",
            "Ready. In another terminal, submit a job, wait for it, and download the model:",
            f"  {curl} -H 'Content-Type: application/json' -d '{EXAMPLE}' {url}/v1/jobs",
            f"  {curl} '{url}/v1/jobs/JOB_ID?wait=60'",
            f"  {curl} -o model.tar {url}/v1/jobs/JOB_ID/archive",
            "or with the same key: trainyard submit --recipe image-classification -p dataset.builtin=digits --watch",
            "Ctrl-C stops everything.",
            "",
        )
    )

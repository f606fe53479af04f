"""``worker``: runs this machine as a node; ``worker list|drain|undrain`` look after all of them."""

import os
import sys
from typing import Annotated

import typer

from trainyard.cli.session import AsJson, console, find_worker, print_json, print_table, session_of
from trainyard.cli.words import ago

worker = typer.Typer(help="Run this machine as a node, or look after nodes.", no_args_is_help=False, rich_markup_mode=None)
WorkerArgument = Annotated[str, typer.Argument(metavar="WORKER", help="A worker's id or name.")]


def register(app: typer.Typer) -> None:
    app.add_typer(worker, name="worker")


@worker.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    on_term: Annotated[str, typer.Option(metavar="drain|leave", help="On SIGTERM: drain, or leave running jobs alone.")] = "drain",
) -> None:
    """Without a command: run a node here, in this process. It reads TRAINYARD_API_URL, TRAINYARD_WORKER_TOKEN and so on."""
    if context.invoked_subcommand is not None:
        return
    if on_term not in ("drain", "leave"):
        raise typer.BadParameter("say drain or leave", param_hint="--on-term")
    os.execv(sys.executable, [sys.executable, "-m", "worker", "--on-term", on_term])  # becomes the node


@worker.command("list")
def list_all(context: typer.Context, as_json: AsJson = False) -> None:
    """List the workers."""
    with session_of(context).client() as client:
        found = list(client.workers())
    if as_json:
        print_json(found)
        return
    rows = [
        (
            item.name,
            item.state,
            f"{item.num_busy}/{len(item.devices)} {item.accelerator}",
            item.launch,
            item.isolation.level,
            item.torch_version or "-",
            ", ".join(item.jobs) or "-",
            ago(item.last_seen_at),
            item.id,
        )
        for item in found
    ]
    print_table(
        ("WORKER", "STATE", "BUSY", "LAUNCH", "ISOLATION", "TORCH", "JOBS", "SEEN", "ID"),
        rows,
        empty="no worker has registered yet",
        wraps="JOBS",
    )


@worker.command()
def drain(context: typer.Context, name: WorkerArgument, as_json: AsJson = False) -> None:
    """Let its jobs write a checkpoint and go on elsewhere; it takes no new ones."""
    with session_of(context).client() as client:
        answer = client.drain(find_worker(client, name))
    print_json(answer) if as_json else console().print(f"{answer.name} {answer.state}")


@worker.command()
def undrain(context: typer.Context, name: WorkerArgument, as_json: AsJson = False) -> None:
    """Put a drained worker back into service."""
    with session_of(context).client() as client:
        answer = client.undrain(find_worker(client, name))
    print_json(answer) if as_json else console().print(f"{answer.name} {answer.state}")

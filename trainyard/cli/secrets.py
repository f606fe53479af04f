"""``secrets set|list|remove``."""

import sys
from typing import Annotated

import typer

from trainyard.cli.session import AsJson, console, print_json, print_table, session_of
from trainyard.cli.words import ago

secrets = typer.Typer(help="Secrets for scripts: set, list, remove.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="As a script's spec names it.")]


def register(app: typer.Typer) -> None:
    app.add_typer(secrets, name="secrets")


@secrets.command("set")
def put(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Set a secret; the value is asked for, or read from stdin, so that it stands in no history."""
    value = typer.prompt(f"Value of {name}", hide_input=True) if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    with session_of(context).client() as client:
        secret = client.set_secret(name, value)
    print_json(secret) if as_json else console().print(f"{secret.name} is set")


@secrets.command("list")
def list_all(context: typer.Context, as_json: AsJson = False) -> None:
    """List secrets by name; nothing shows a value."""
    with session_of(context).client() as client:
        found = client.secrets()
    if as_json:
        print_json(found)
        return
    print_table(("SECRET", "SET"), [(secret.name, ago(secret.updated_at)) for secret in found], empty="no secrets")


@secrets.command()
def remove(context: typer.Context, name: Name) -> None:
    """Remove a secret."""
    with session_of(context).client() as client:
        client.remove_secret(name)
    console().print(f"{name} removed")

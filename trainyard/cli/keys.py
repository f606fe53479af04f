"""``keys create|list|revoke``."""

from typing import Annotated

import typer

from core.wire.keys import Scope
from trainyard.cli.session import AsJson, console, print_json, print_table, session_of
from trainyard.cli.words import ago

keys = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(keys, name="keys")


@keys.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for; shown in lists.")],
    scope: Annotated[list[Scope], typer.Option(help="Repeatable; submit implies read, admin implies both.")],
    project: Annotated[str | None, typer.Option(help="Another project than your own; operators only.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Expires after so many days.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key. It is printed on stdout, once; nothing can show it again."""
    with session_of(context).client() as client:
        key = client.create_key(name, scope, project=project, days=days)
    if as_json:
        print_json(key)
        return
    console(stderr=True).print(f"{key.id}: {', '.join(key.scopes)} in project {key.project}. Keep the key safe, it is not shown again:")
    typer.echo(key.key)


@keys.command("list")
def list_all(context: typer.Context, as_json: AsJson = False) -> None:
    """List keys; their secrets are not stored."""
    with session_of(context).client() as client:
        found = list(client.keys())
    if as_json:
        print_json(found)
        return
    rows = [
        (
            key.id,
            key.name,
            key.project,
            ", ".join(key.scopes),
            "revoked" if key.revoked_at else "active",
            ago(key.last_used_at) if key.last_used_at else "never",
        )
        for key in found
    ]
    print_table(("KEY", "NAME", "PROJECT", "SCOPES", "STATE", "USED"), rows, empty="no keys")


@keys.command()
def revoke(context: typer.Context, key_id: Annotated[str, typer.Argument(metavar="KEY")], as_json: AsJson = False) -> None:
    """Revoke a key; it stops working within seconds."""
    with session_of(context).client() as client:
        key = client.revoke_key(key_id)
    print_json(key) if as_json else console().print(f"{key.id} revoked")

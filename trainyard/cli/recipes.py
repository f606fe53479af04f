"""``recipes``."""

from typing import Annotated

import typer

from trainyard.cli.session import AsJson, console, print_json, print_table, session_of


def register(app: typer.Typer) -> None:
    app.command()(recipes)


def recipes(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Show this one, with the schema of its spec.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what can be trained, or show one recipe."""
    with session_of(context).client() as client:
        if name is None:
            found = client.recipes()
            rows = [(item.name, item.summary) for item in found]
            print_json(found) if as_json else print_table(("RECIPE", "WHAT IT DOES"), rows, empty="no recipes", wraps="WHAT IT DOES")
            return
        recipe = client.recipe(name)
    if as_json:
        print_json(recipe)
        return
    out = console()
    out.print(f"{recipe.name}\n\n{recipe.description}\n\nMetrics: {', '.join(recipe.metrics)}\n\nSchema of its spec:")
    print_json(recipe.json_schema)

"""``model predict``."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import JsonValue

from core.wire.predictions import Prediction
from trainyard.cli.models import Reference, model, parse_reference
from trainyard.cli.session import AsJson, console, print_json, print_table, session_of
from trainyard.errors import BadInput
from trainyard.predictions import Row


def register(app: typer.Typer) -> None:
    """A command of the group ``model``, which is a part of ``app`` already."""
    model.command()(predict)


def predict(
    context: typer.Context,
    name: Reference,
    row: Annotated[list[str] | None, typer.Argument(metavar="[ROW]...", help="A JSON value, such as an object; else a text.")] = None,
    file: Annotated[list[Path] | None, typer.Option(help="An image or a recording; repeatable.")] = None,
    version: Annotated[str | None, typer.Option(help="A number or an alias, as in NAME@VERSION.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=120, help="Seconds to wait for the answer.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Predict with a model: one prediction for each ROW and each --file."""
    if version is not None and "@" in name:
        raise BadInput("say the version once: NAME@VERSION, or --version")
    stem, reference = parse_reference(name if version is None else f"{name}@{version}")
    rows: list[Row] = [*map(parse_row, row or ()), *(file or ())]
    if not rows:
        raise BadInput("there is nothing to predict on: give a ROW, such as '{\"length\": 3.5}' or a text, or --file")
    with session_of(context).client() as client:
        answer = client.predict(stem, rows, version=reference, timeout=timeout)
    print_json(answer) if as_json else _print(answer)


def parse_row(text: str) -> JsonValue:
    """What the text means as JSON; what is no JSON is a text."""
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        if text.lstrip().startswith(("{", "[")):
            raise BadInput(f"{text} looks like JSON, and is none") from None
        return text
    return value


def _print(answer: Prediction) -> None:
    names = list(dict.fromkeys(name for prediction in answer.predictions for name in prediction))
    print_table(
        map(str.upper, names), ([_cell(item.get(name)) for name in names] for item in answer.predictions), empty="", wraps=_widest(names)
    )
    timing = answer.timing
    loading = f", of which {timing.load_seconds:.1f} s for loading the model" if timing.load_seconds else ""
    console(stderr=True).print(f"{answer.model}@{answer.version}  {timing.total_seconds:.2f} s{loading}")


def _widest(names: Iterable[str]) -> str | None:
    """The column that gives way: lists come last."""
    return next((name.upper() for name in reversed(list(names))), None)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

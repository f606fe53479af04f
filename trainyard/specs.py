"""Job specs as text: from a file, from the command line's ``-p``, or from Python values.

Nothing is judged here: the server knows the recipes of its version and answers every problem at once.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.spec import JobSpec
from trainyard.errors import BadInput

SpecLike = Mapping[str, Any] | JobSpec | os.PathLike[str] | str


def spec_text(spec: SpecLike) -> bytes:
    """The JSON text of a spec: a mapping, a typed spec, or the path of a JSON file. Raises BadInput."""
    if isinstance(spec, JobSpec):
        return spec.model_dump_json(exclude_unset=True).encode()
    if isinstance(spec, Mapping):
        return dump(spec)
    return dump(read_spec(Path(spec)))


def read_spec(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        return parse_object(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from None


def parse_object(text: str, *, source: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{source}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    if not isinstance(value, dict):
        raise BadInput(f"{source}: a spec is a JSON object, not {type(value).__name__}")
    return value


def dump(spec: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(spec, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BadInput(f"the spec cannot be written as JSON: {error}") from None


def with_settings(spec: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """The spec with settings such as ``training.epochs=3`` applied; values are JSON where they can be, else text."""
    result: dict[str, Any] = json.loads(dump(spec))
    for setting in settings:
        place, equals, text = setting.partition("=")
        if not equals or not all(place.split(".")):
            raise BadInput(f"-p {setting}: write it as key=value, such as training.epochs=3")
        _put(result, place.split("."), _value(text), setting)
    return result


def _put(spec: dict[str, Any], keys: list[str], value: Any, setting: str) -> None:
    for key in keys[:-1]:
        inner = spec.setdefault(key, {})
        if not isinstance(inner, dict):
            raise BadInput(f"-p {setting}: {key!r} is not an object")
        spec = inner
    spec[keys[-1]] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text

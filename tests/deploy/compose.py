"""Reads docker-compose.yml as compose does, as far as the file uses it, and moves what it says onto this machine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
# ${NAME:?message}, ${NAME:-default}, ${NAME} and $$.
VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Z_]+)(?::([?-])([^}]*))?\})")


class MissingVariable(Exception):
    """A required variable is not set; compose stops with the message."""


@dataclass(frozen=True)
class Service:
    """One service after interpolation."""

    name: str
    raw: Mapping[str, Any]

    @property
    def command(self) -> list[str]:
        return list(self.raw["command"])

    @property
    def environment(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.raw.get("environment", {}).items()}

    @property
    def health_check(self) -> list[str]:
        """An argument list; compose runs ``CMD-SHELL`` by a shell."""
        kind, *words = self.raw["healthcheck"]["test"]
        return words if kind == "CMD" else ["sh", "-c", words[0]]


def raw_text() -> str:
    return FILE.read_text()


def read(variables: Mapping[str, str]) -> dict[str, Service]:
    """Every service, with ``variables`` as .env or the shell would give them."""
    content = _filled_in(yaml.safe_load(raw_text()), variables)
    return {name: Service(name, raw) for name, raw in content["services"].items()}


def _filled_in(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled_in(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled_in(item, variables) for item in value]
    return VARIABLE.sub(lambda match: _value_of(match, variables), value) if isinstance(value, str) else value


def _value_of(match: re.Match[str], variables: Mapping[str, str]) -> str:
    dollar, name, operator, rest = match.groups()
    if dollar:
        return "$"
    value = variables.get(name, "")
    if value or operator is None:
        return value
    if operator == "?":
        raise MissingVariable(f"{name}: {rest}")
    return str(rest)


def moved(value: str, moves: Mapping[str, str]) -> str:
    """The text with hosts, ports and folders of the containers replaced by those of this machine."""
    for there, here in moves.items():
        value = value.replace(there, here)
    return value

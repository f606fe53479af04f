"""Fields of a request's body or query, each checked and refused with its name."""

import math
import re
from collections.abc import Mapping
from typing import Any

from worker.tracking.answers import InvalidValue

MAX_KEY = 250
MAX_TEXT = 8_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_INTEGER = re.compile(r"-?\d{1,18}")


def text(content: Mapping[str, Any], name: str, default: str | None = None, *, max_length: int = MAX_TEXT) -> str:
    """A string of at most ``max_length`` characters; a number counts as the text of itself."""
    value = content.get(name)
    if value is None:
        value = default
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidValue(f"Missing or invalid value for parameter '{name}': a string is expected")
    if len(value) > max_length:
        raise InvalidValue(f"'{name}' has {len(value)} characters, more than {max_length}")
    if _SURROGATE.search(value):
        raise InvalidValue(f"'{name}' is not Unicode text")
    return value


def key(content: Mapping[str, Any], name: str = "key") -> str:
    """A name: not empty, at most 250 characters, none of them a control character."""
    value = text(content, name, max_length=MAX_KEY)
    if not value or _CONTROL.search(value):
        raise InvalidValue(f"'{name}' is empty or holds a control character")
    return value


def integer(content: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """An integer, also as digits: protobuf's JSON tells 64 bit so."""
    value = content.get(name)
    if value is None:
        value = default
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e18:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return value
    raise InvalidValue(f"Missing or invalid value for parameter '{name}': an integer is expected")


def number(content: Mapping[str, Any], name: str) -> float:
    """A number; "NaN", "Infinity" and "-Infinity" as text, as protobuf's JSON tells them."""
    value = content.get(name)
    if isinstance(value, str) and len(value) <= 64:
        try:
            return float(value)
        except ValueError:
            value = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.copysign(math.inf, value)
    raise InvalidValue(f"Missing or invalid value for parameter '{name}': a number is expected")


def items(content: Mapping[str, Any], name: str, most: int) -> list[Mapping[str, Any]]:
    """A list of objects; absent means empty."""
    value = content.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidValue(f"Missing or invalid value for parameter '{name}': a list of objects is expected")
    if len(value) > most:
        raise InvalidValue(f"'{name}' has {len(value)} entries, more than {most}")
    return value

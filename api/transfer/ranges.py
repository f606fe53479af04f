"""Which part of a representation a request asks for (RFC 9110, 13 and 14): one range at most."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))[ \t]*", re.IGNORECASE)


class RangeNotSatisfiable(Exception):
    """The range begins behind the last byte."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``start`` to ``end``, the end not included."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def wanted_span(headers: Mapping[str, str], etag: str, size: int) -> Span | None:
    """The range to answer with 206; None for the whole with 200. RangeNotSatisfiable means 416.

    Several ranges, a malformed one and one whose If-Range is not this very entity tag are answered with the whole:
    joining many small ranges is work that a stranger could order in one header.
    """
    match = _ONE_RANGE.fullmatch(headers.get("range", "")[:100])
    if match is None or headers.get("if-range", etag).strip() != etag:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start, end = max(size - int(suffix), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise RangeNotSatisfiable
    return Span(start, end)

"""Follows the output of a job over its attempts: which bytes a reader does not have yet."""

import re
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from core.errors import InvalidInput
from core.output.read import MAX_LIMIT, MIN_LIMIT, Output, Piece, StreamState, find_output, find_piece

_STREAM = re.compile(r"(\d{1,5})\.(stdout|stderr)\.(\d{1,15})")


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader has come in one attempt: the next byte of each stream. Text: ``2:0.stdout.1200,0.stderr.33``."""

    attempt: int
    offsets: dict[tuple[int, str], int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Place":
        number, _, rest = text.partition(":")
        streams = [_STREAM.fullmatch(part) for part in rest.split(",")] if rest else []
        if not re.fullmatch(r"\d{1,9}", number) or None in streams:
            raise InvalidInput("the event id must look like 2:0.stdout.1200", param="Last-Event-ID")
        return cls(int(number), {(int(match[1]), match[2]): int(match[3]) for match in streams if match})

    def __str__(self) -> str:
        return f"{self.attempt}:" + ",".join(f"{rank}.{stream}.{offset}" for (rank, stream), offset in self.offsets.items())

    def moved(self, rank: int, stream: str, offset: int) -> "Place":
        return replace(self, offsets={**self.offsets, (rank, stream): offset})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams a reader follows; None stands for all."""

    rank: int | None = None
    stream: str | None = None

    def includes(self, state: StreamState) -> bool:
        return self.rank in (None, state.rank) and self.stream in (None, state.stream)


def find_news(tx: Connection, project_id: str, job_id: str, place: Place | None, wanted: Wanted) -> tuple[Output, list[Piece]]:
    """New bytes of the attempt of ``place`` (of the newest attempt when there is none), at most ``MAX_LIMIT`` in all."""
    output = find_output(tx, project_id, job_id, place.attempt if place else None)
    pieces: list[Piece] = []
    room = MAX_LIMIT
    for name, state in output.streams.items():
        offset = place.offsets.get(name, 0) if place else 0
        if wanted.includes(state) and offset < state.size and room >= MIN_LIMIT:
            pieces.append(find_piece(tx, output, state, offset, room))
            room -= pieces[-1].end - offset
    return output, pieces

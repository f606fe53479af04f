"""Reads output by byte offset: what is needed of the ledger inside the transaction, bytes of the store after it."""

import codecs
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from core.artifacts.store import ByteStore
from core.db.tables import attempts, jobs, log_chunks, log_streams
from core.errors import NotFound
from core.output.streams import StreamKey
from core.retention.removals import refuse_removed
from core.states import FINAL, LIVE_ATTEMPT, AttemptState, JobState
from core.wire.jobs import LogPage, LogStream
from core.wire.projects import Kind

DEFAULT_LIMIT = 256 * 1024
MIN_LIMIT = 4  # bytes of the longest UTF-8 character: a page always gets one step further
MAX_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StreamState:
    """One stored stream and where its bytes are: in chunks, or once compacted in a blob."""

    rank: int
    stream: str
    size: int = 0
    is_truncated: bool = False
    blob_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """All streams of one attempt as they were at one moment, by rank and name."""

    job_id: str
    attempt_id: str
    attempt: int
    next_attempt: int | None
    is_closed: bool  # the attempt has ended: nothing will follow in its streams
    is_job_over: bool
    streams: dict[tuple[int, str], StreamState]

    def listing(self) -> list[LogStream]:
        return [
            LogStream.model_validate(
                {
                    "attempt": self.attempt,
                    "rank": state.rank,
                    "stream": state.stream,
                    "size": state.size,
                    "is_truncated": state.is_truncated,
                    "is_closed": self.is_closed,
                }
            )
            for state in self.streams.values()
        ]


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes ``offset`` to ``end`` of a stream: here, or still in the blob that is named."""

    state: StreamState
    offset: int
    end: int
    data: bytes = b""
    blob_sha256: str | None = None


def find_output(tx: Connection, project_id: str, job_id: str, attempt: int | None = None) -> Output:
    """The output of one attempt, of the newest by default; attempt 0 stands for the time before the first.

    NotFound for a job of another project and for an attempt that there is not; Removed when retention removed what it printed.
    """
    job_state = tx.scalar(select(jobs.c.state).where(jobs.c.id == job_id, jobs.c.project_id == project_id))
    if job_state is None:
        raise NotFound
    of_job = select(attempts.c.id, attempts.c.number, attempts.c.state).where(attempts.c.job_id == job_id)
    asked = of_job.order_by(attempts.c.number.desc()).limit(1) if attempt is None else of_job.where(attempts.c.number == attempt)
    row = tx.execute(asked).one_or_none()
    if row is None and attempt:
        raise NotFound
    streams = _streams(tx, row.id) if row else {}
    if not streams and JobState(job_state) in FINAL:
        refuse_removed(tx, project_id, Kind.LOGS, job_id)
    number = row.number if row else 0
    return Output(
        job_id=job_id,
        attempt_id=row.id if row else "",
        attempt=number,
        next_attempt=tx.scalar(select(func.min(attempts.c.number)).where(attempts.c.job_id == job_id, attempts.c.number > number)),
        is_closed=row is None or AttemptState(row.state) not in LIVE_ATTEMPT,
        is_job_over=JobState(job_state) in FINAL,
        streams=streams,
    )


def _streams(tx: Connection, attempt_id: str) -> dict[tuple[int, str], StreamState]:
    columns = (log_streams.c.rank, log_streams.c.stream, log_streams.c.size, log_streams.c.is_truncated, log_streams.c.blob_sha256)
    query = select(*columns).where(log_streams.c.attempt_id == attempt_id).order_by(log_streams.c.rank, log_streams.c.stream.desc())
    return {(row.rank, row.stream): StreamState(*row) for row in tx.execute(query)}


def find_piece(tx: Connection, output: Output, state: StreamState, offset: int, limit: int) -> Piece:
    """At most ``limit`` bytes of a stream from ``offset`` on; an offset behind the end gives an empty piece there."""
    end = min(state.size, offset + limit)
    if offset >= end:
        return Piece(state, offset, offset)
    if state.blob_sha256 is not None:
        return Piece(state, offset, end, blob_sha256=state.blob_sha256)
    mine = StreamKey(output.attempt_id, state.rank, state.stream).rows_of(log_chunks)
    first = select(func.max(log_chunks.c.offset)).where(mine, log_chunks.c.offset <= offset).scalar_subquery()
    query = select(log_chunks.c.offset, log_chunks.c.bytes).where(mine, log_chunks.c.offset >= first, log_chunks.c.offset < end)
    chunks = tx.execute(query.order_by(log_chunks.c.offset)).all()
    data = b"".join(chunk.bytes for chunk in chunks)
    start = offset - chunks[0].offset
    return Piece(state, offset, end, data[start : start + end - offset])


def render(output: Output, piece: Piece, store: ByteStore) -> LogPage:
    """The piece as text. A character that is not whole yet is left to the next page; undecodable bytes are replaced."""
    state = piece.state
    data = piece.data if piece.blob_sha256 is None else b"".join(store.read(piece.blob_sha256, piece.offset, piece.end))
    nothing_follows = output.is_closed and piece.end >= state.size
    text, num_bytes = decode(data, is_final=nothing_follows)
    is_complete = nothing_follows and (output.attempt > 0 or output.is_job_over)
    return LogPage.model_validate(
        {
            "job_id": output.job_id,
            "attempt": output.attempt,
            "rank": state.rank,
            "stream": state.stream,
            "offset": piece.offset,
            "next_offset": piece.offset + num_bytes,
            "text": text,
            "is_complete": is_complete,
            "streams": output.listing(),
        }
    )


def decode(data: bytes, *, is_final: bool) -> tuple[str, int]:
    """UTF-8 text and how many bytes it stands for: without ``is_final`` an unfinished last character is left over."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data, final=is_final)
    return text, len(data) - len(decoder.getstate()[0])

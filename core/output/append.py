"""Takes bytes that a rank has printed, at the offset where the stored ones end."""

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from core.db.tables import attempts, log_chunks, log_streams
from core.errors import OffsetMismatch
from core.jobs.journal import record
from core.jobs.leases import Fence
from core.output.masking import OVERLAP, mask_bytes
from core.output.streams import StreamKey
from core.wire.worker import LogReply

MAX_APPEND = 256 * 1024
SMALL_CHUNK = 4 * 1024  # a last chunk below this grows instead of getting a successor


def append_log(tx: Connection, fence: Fence, rank: int, stream: str, *, offset: int, data: bytes, limit: int, now: datetime) -> LogReply:
    """Stores ``data`` (at most ``MAX_APPEND`` bytes) if it begins where the stored bytes end; secrets in it are hidden first.

    Bytes that are stored already are a no-op; any other offset raises OffsetMismatch with the right one. ``limit`` is for
    the whole attempt: at it a line in the stream and an event say so, and whatever follows is acknowledged and dropped.
    """
    key = StreamKey(fence.attempt_id, rank, stream)
    row = tx.execute(select(log_streams.c.size, log_streams.c.is_truncated).where(key.rows_of(log_streams))).one_or_none()
    size, is_truncated = (row.size, row.is_truncated) if row else (0, False)
    end = offset + len(data)
    if is_truncated:
        return LogReply(next_offset=end, is_truncated=True)
    if end <= size:
        return LogReply(next_offset=size)
    if offset != size:
        raise OffsetMismatch(size)
    stored, is_truncated = _within_limit(tx, fence, data, limit=limit, now=now)
    _write(tx, key, size, stored)
    if row is None:
        tx.execute(insert(log_streams).values(**key.columns(), size=len(stored), is_truncated=is_truncated))
    else:
        tx.execute(update(log_streams).where(key.rows_of(log_streams)).values(size=size + len(stored), is_truncated=is_truncated))
    return LogReply(next_offset=end, is_truncated=is_truncated)


def _within_limit(tx: Connection, fence: Fence, data: bytes, *, limit: int, now: datetime) -> tuple[bytes, bool]:
    """What of ``data`` may still be stored, and whether the stream ends here."""
    used: int = tx.scalars(select(attempts.c.log_bytes).where(attempts.c.id == fence.attempt_id)).one()
    tx.execute(update(attempts).where(attempts.c.id == fence.attempt_id).values(log_bytes=used + len(data)))
    if used + len(data) <= limit:
        return data, False
    if used <= limit:  # once per attempt, although every stream gets the line
        message = f"output beyond {limit} bytes is dropped; more is printed than this server keeps of one attempt"
        record(tx, fence.job_id, "logs.truncated", message, at=now, attempt=fence.number, data={"limit_bytes": limit})
    marker = f"\n[trainyard: the output limit of {limit} bytes for one attempt is reached; what follows was dropped]\n"
    return data[: max(limit - used, 0)] + marker.encode(), True


def _write(tx: Connection, key: StreamKey, size: int, data: bytes) -> None:
    # Two chunks hold at least OVERLAP bytes: only the last one can be small.
    newest = select(log_chunks.c.offset, log_chunks.c.bytes).where(key.rows_of(log_chunks)).order_by(log_chunks.c.offset.desc()).limit(2)
    chunks = [(chunk.offset, chunk.bytes) for chunk in reversed(tx.execute(newest).all())]
    seen = b"".join(content for _, content in chunks)[-OVERLAP:]
    masked = mask_bytes(seen + data)
    if masked[: len(seen)] != seen:  # a secret began in earlier bytes and was recognised only now
        chunks = _rewrite(tx, key, chunks, masked[: len(seen)])
    fresh = masked[len(seen) :]
    if chunks and len(chunks[-1][1]) < SMALL_CHUNK:
        offset, content = chunks[-1]
        _replace(tx, key, offset, content + fresh)
    else:
        tx.execute(insert(log_chunks).values(**key.columns(), offset=size, bytes=fresh))


def _rewrite(tx: Connection, key: StreamKey, chunks: list[tuple[int, bytes]], tail: bytes) -> list[tuple[int, bytes]]:
    """The chunks with their last bytes replaced by ``tail``."""
    whole = b"".join(content for _, content in chunks)
    whole = whole[: len(whole) - len(tail)] + tail
    rewritten, start = [], 0
    for offset, content in chunks:
        piece = whole[start : start + len(content)]
        start += len(content)
        if piece != content:
            _replace(tx, key, offset, piece)
        rewritten.append((offset, piece))
    return rewritten


def _replace(tx: Connection, key: StreamKey, offset: int, content: bytes) -> None:
    tx.execute(update(log_chunks).where(key.rows_of(log_chunks), log_chunks.c.offset == offset).values(bytes=content))

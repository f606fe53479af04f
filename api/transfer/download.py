"""Answers with an object of the byte store: whole, a part, or only its description."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Protocol
from urllib.parse import quote

from fastapi import Header, Query, Request, Response
from starlette.types import Receive, Scope, Send

from api.errors import ERRORS, problem, request_id_of
from api.respond import etag_matches
from api.transfer.ranges import RangeNotSatisfiable, Span, wanted_span
from core.artifacts.store import ByteStore
from core.errors import Unavailable

DIGESTED = 16 << 20  # bytes: the digest of a part up to this length is computed before it is sent

_BYTES: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
PART_OR_WHOLE: dict[int | str, dict[str, Any]] = {
    200: {"content": _BYTES, "description": "the bytes; their SHA-256 is the entity tag and in Repr-Digest"},
    206: {"content": _BYTES, "description": "the part that was asked for"},
    307: {"description": "the store has the bytes, for a few minutes at `Location`; the API key is not for it"},
}

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "the caller has it"}}
DOWNLOAD = {**ERRORS(404, 410, 416), **PART_OR_WHOLE, **NOT_MODIFIED}
# Declared for the document; ``answer`` reads them from the request.
Range = Annotated[str | None, Header(description="one byte range, such as `bytes=1000-`")]
IfRange = Annotated[str | None, Header(description="the entity tag that the first part of a resumed download had")]
IfNoneMatch = Annotated[str | None, Header(description="entity tags that the caller has already")]
Direct = Annotated[bool, Query(description="whether a store that can may be named in a 307, instead of bytes")]

# Of their own: a slow disk must not keep the threads that answer requests.
_readers = ThreadPoolExecutor(max_workers=16, thread_name_prefix="bytes")


class Chunks(Protocol):
    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Described:
    """What is downloaded: the digest is its name in the store and its entity tag."""

    sha256: str
    size: int
    media_type: str
    filename: str

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'

    def headers(self) -> dict[str, str]:
        ascii_name = self.filename.encode("ascii", "replace").decode().translate({34: "_", 37: "_", 92: "_"})
        return {
            "ETag": self.etag,
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",
            "Content-Disposition": f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(self.filename, safe='')}",
            "Repr-Digest": digest_field(bytes.fromhex(self.sha256)),
        }


def answer(request: Request, store: ByteStore, item: Described, *, may_redirect: bool) -> Response:
    """The response to a GET or HEAD of ``item``; opens the object, so call it in a thread.

    Where the store can, a GET is sent to it, unless it has an If-Range: the store does not know our entity tags.
    """
    headers = item.headers()
    if etag_matches(request.headers.get("if-none-match"), item.etag):
        return Response(None, 304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
    if request.method == "HEAD":
        return _head(headers, item)
    if may_redirect and store.direct is not None and "if-range" not in request.headers:
        url = store.direct.download_url(item.sha256, media_type=item.media_type, disposition=headers["Content-Disposition"])
        if url is not None:
            return Response(None, 307, headers={"Location": url, "Cache-Control": "no-store"})
    try:
        span = wanted_span(request.headers, item.etag, item.size)
    except RangeNotSatisfiable:
        end = {"Content-Range": f"bytes */{item.size}", "Accept-Ranges": "bytes", "ETag": item.etag}
        message = f"there are {item.size} bytes, and the range begins behind them"
        return problem(request_id_of(request), 416, message, code="range_not_satisfiable", param="Range", headers=end)
    if span is None:
        headers["Content-Digest"] = headers["Repr-Digest"]
        return StreamedBytes(_open(store, item, Span(0, item.size)), item.size, headers=headers, media_type=item.media_type)
    headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{item.size}"
    if len(span) > DIGESTED:
        return StreamedBytes(_open(store, item, span), len(span), status=206, headers=headers, media_type=item.media_type)
    part = b"".join(_open(store, item, span))
    headers["Content-Digest"] = digest_field(hashlib.sha256(part).digest())
    return Response(part, 206, headers=headers, media_type=item.media_type)


def digest_field(digest: bytes) -> str:
    """A Repr-Digest or Content-Digest header (RFC 9530) of a SHA-256."""
    return f"sha-256=:{b64encode(digest).decode()}:"


def _head(headers: dict[str, str], item: Described) -> Response:
    response = Response(None, 200, headers=headers, media_type=item.media_type)
    response.headers["Content-Length"] = str(item.size)
    return response


def _open(store: ByteStore, item: Described, span: Span) -> Chunks:
    try:
        return store.read(item.sha256, span.start, span.end)
    except FileNotFoundError as error:
        raise Unavailable("the bytes of this object are not in the store") from error


class StreamedBytes(Response):
    """Sends chunks whose total is known. The next chunk is read in a thread while the last one is being sent."""

    def __init__(self, chunks: Chunks, size: int, *, status: int = 200, headers: dict[str, str], media_type: str) -> None:
        super().__init__(None, status, headers=headers, media_type=media_type)
        self.headers["Content-Length"] = str(size)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listening = asyncio.ensure_future(_disconnected(receive))
        reading = _read_ahead(self._chunks)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            # The server swallows what is sent to a client that has gone, so it is asked whether one is still there.
            while (chunk := await asyncio.shield(reading)) and not listening.done():
                reading = _read_ahead(self._chunks)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if not listening.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            listening.cancel()
            await _settled(reading)
            self._chunks.close()


def _read_ahead(chunks: Chunks) -> "asyncio.Future[bytes]":
    return asyncio.get_running_loop().run_in_executor(_readers, next, chunks, b"")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _settled(reading: "asyncio.Future[bytes]") -> None:
    """Waits until no thread reads any more: a file must not be closed under its reader."""
    await asyncio.wait({reading})
    if not reading.cancelled():
        reading.exception()  # who awaited it has raised it already, or the client is gone and nobody needs to know

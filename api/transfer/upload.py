"""Takes a body of any length into the store: a thread hashes and writes one megabyte while the next one arrives."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager

from starlette.requests import ClientDisconnect, Request

from core.artifacts.store import ByteStore
from core.artifacts.upload import Upload
from core.errors import InvalidInput, OffsetMismatch, Unavailable

WRITE_SIZE = 1 << 20
IDLE_SECONDS = 60.0  # a body that brings nothing for this long is given up: its sender is gone or holds us on purpose

# Of their own: a slow disk must not keep the threads that answer requests.
_writers = ThreadPoolExecutor(max_workers=16, thread_name_prefix="uploads")
# A body without a known digest holds its thread to the end, so these must not be those of the resumable uploads.
_streamers = ThreadPoolExecutor(max_workers=16, thread_name_prefix="streams")


async def receive(request: Request, opened: AbstractContextManager[Upload], offset: int) -> int:
    """Appends the request's body at ``offset``; returns how many bytes are durable afterwards.

    OffsetMismatch when the staged bytes end elsewhere. Whatever arrived before an error or a lost connection stays, and
    the next request goes on from there.
    """
    loop = asyncio.get_running_loop()
    upload = await loop.run_in_executor(_writers, opened.__enter__)
    try:
        if offset != upload.offset:
            raise OffsetMismatch(upload.offset)
        _check_length(request, upload)
        await _append(request, upload)
    except BaseException as error:
        await asyncio.shield(loop.run_in_executor(_writers, opened.__exit__, type(error), error, error.__traceback__))
        raise
    await loop.run_in_executor(_writers, opened.__exit__, None, None, None)
    return upload.offset


def _check_length(request: Request, upload: Upload) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and upload.offset + int(declared) > upload.size:
        raise InvalidInput(f"{declared} bytes at offset {upload.offset} are more than the announced size of {upload.size}", param="size")


async def _append(request: Request, upload: Upload) -> None:
    loop = asyncio.get_running_loop()
    writing: asyncio.Future[None] = loop.create_future()
    writing.set_result(None)
    try:
        async for part in _pieces(request):
            await asyncio.shield(writing)
            writing = loop.run_in_executor(_writers, upload.write, part)
        await asyncio.shield(writing)
    finally:
        await asyncio.wait({writing})  # the file must not be closed under its writer


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces of about ``WRITE_SIZE``; what came before a lost connection is a piece too, and then Unavailable."""
    gathered: list[bytes] = []
    parts = request.stream()
    failure: Exception | None = None
    while failure is None:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                gathered.append(await anext(parts))
        except (StopAsyncIteration, ClientDisconnect, TimeoutError) as error:
            failure = error
        if gathered and (failure or sum(map(len, gathered)) >= WRITE_SIZE):
            yield b"".join(gathered)
            gathered = []
    if not isinstance(failure, StopAsyncIteration):
        raise Unavailable("the connection ended before the body did") from failure


async def receive_whole(request: Request, store: ByteStore, owner: str) -> tuple[str, int]:
    """Stores the body as an object of a project: SHA-256 and number of bytes. Of a body that does not arrive whole nothing stays."""
    body = _Body(request)
    storing = asyncio.get_running_loop().run_in_executor(_streamers, _store, store, owner, body)
    try:
        return await asyncio.shield(storing), body.size
    finally:
        body.stop()
        await asyncio.wait({storing})  # the body must not be gone under its reader


def _store(store: ByteStore, owner: str, body: "_Body") -> str:
    return store.put(body, owner=owner, keeps_reserve=True)


class _Body:
    """The pieces of a request's body for a thread; the next one is on its way while the thread works on the last."""

    def __init__(self, request: Request) -> None:
        self.size = 0
        self._pieces = _pieces(request)
        self._loop = asyncio.get_running_loop()
        self._coming: Future[bytes] | None = None
        self._lock = threading.Lock()
        self._is_stopped = False

    def __iter__(self) -> Iterator[bytes]:
        coming = self._ask()
        while piece := coming.result():
            coming = self._ask()
            self.size += len(piece)
            yield piece

    def stop(self) -> None:
        """Ends the thread's waiting; without effect once it has everything."""
        with self._lock:
            self._is_stopped = True
            if self._coming is not None:
                self._coming.cancel()

    def _ask(self) -> "Future[bytes]":
        with self._lock:
            if self._is_stopped:
                raise CancelledError
            self._coming = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            return self._coming

    async def _next(self) -> bytes:
        return await anext(self._pieces, b"")

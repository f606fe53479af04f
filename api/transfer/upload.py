"""Takes a body of any length into a staging file: a thread hashes and writes one megabyte while the next one arrives."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from starlette.requests import ClientDisconnect, Request

from core.artifacts.upload import Upload
from core.errors import InvalidInput, OffsetMismatch, Unavailable

WRITE_SIZE = 1 << 20
IDLE_SECONDS = 60.0  # a body that brings nothing for this long is given up: its sender is gone or holds us on purpose

# Of their own: a slow disk must not keep the threads that answer requests.
_writers = ThreadPoolExecutor(max_workers=16, thread_name_prefix="uploads")


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

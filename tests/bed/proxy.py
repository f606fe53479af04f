"""A TCP proxy that misbehaves on command: between a worker and the API, or anyone and the broker.

It forwards bytes from a loopback port to a TCP or unix target. Faults apply to connections that exist and to new ones.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

CHUNK = 1 << 16
Target = tuple[str, int] | Path


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to bytes on their way. ``drops`` is a half-open connection: sent bytes vanish, and no one is told."""

    refuses: bool = False
    drops: bool = False
    latency_seconds: float = 0.0
    bytes_per_second: float | None = None


CLEAR = Weather()


class Proxy:
    """``with Proxy(("127.0.0.1", 8000)) as proxy:`` serves on ``proxy.port`` from a thread of its own."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.weather = CLEAR
        self.num_connections = 0
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._writers: list[asyncio.StreamWriter] = []  # of every connection that ever was; to break off one that is closed does nothing
        self._accepted: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._serve())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @contextmanager
    def under(self, **changes: Any) -> Iterator[None]:
        """Bad weather for as long as the block lasts; ``refuses=True`` also cuts what is connected."""
        self.weather = replace(CLEAR, **changes)
        if self.weather.refuses:
            self.cut()
        try:
            yield
        finally:
            self.weather = CLEAR

    def cut(self) -> None:
        """Resets every connection, as a rebooting router does."""
        self._call(self._reset())

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self) -> None:
        # Not asyncio's own server: closed while it accepts somebody, it leaves a transport that nobody can close.
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            near, _ = self._listener.accept()
            self._accepted.append(near)
            self._start(lambda: self._connect(near))

    async def _close(self) -> None:
        """Returns when every socket is closed: also those whose tasks were cancelled before they had begun."""
        self._loop.remove_reader(self._listener)
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(others)
        await self._reset()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)
        for listening_or_accepted in (self._listener, *self._accepted):
            listening_or_accepted.close()

    async def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self, near: socket.socket) -> None:
        self.num_connections += 1
        reader, writer = await asyncio.open_connection(sock=near)
        self._writers.append(writer)
        if self.weather.refuses:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await self._reach_target()
        except OSError:
            writer.transport.abort()
            return
        self._writers.append(far_writer)
        self._start(lambda: self._carry(reader, far_writer))
        self._start(lambda: self._carry(far_reader, writer))

    async def _reach_target(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection(*self.target)

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.ensure_future(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction, until either side ends or is cut."""
        try:
            with suppress(OSError):
                while data := await reader.read(CHUNK):
                    weather = self.weather
                    await asyncio.sleep(weather.latency_seconds + self._seconds_for(data, weather))  # why: latency is the fault itself
                    if not self.weather.drops:
                        writer.write(data)
                        await writer.drain()
        finally:
            writer.close()

    @staticmethod
    def _seconds_for(data: bytes, weather: Weather) -> float:
        return len(data) / weather.bytes_per_second if weather.bytes_per_second else 0.0

"""A small HTTP/1.1 load generator: keep-alive connections on raw sockets, one request in flight on each.

It exists because a full client library costs more than the server that is measured.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Request = Callable[[int], bytes]


@dataclass(slots=True)
class Run:
    """What one run saw: seconds per answer, how many answers had each status, and their bodies."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def request(method: str, url: str, *, key: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """The bytes of one request."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", f"Authorization: Bearer {key}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **(headers or {})}.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def drive(url: str, make: Request, *, connections: int, count: int) -> Run:
    """Sends ``make(0) .. make(count - 1)`` over ``connections`` keep-alive connections, each answer before the next request."""
    return asyncio.run(_drive(url, make, connections, count))


async def _drive(url: str, make: Request, connections: int, count: int) -> Run:
    parts = urlsplit(url)
    numbers = iter(range(count))
    run = Run(0.0)
    started = time.perf_counter()

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for number in numbers:
            sent = time.perf_counter()
            writer.write(make(number))
            status, body = await _read_answer(reader)
            run.latencies.append(time.perf_counter() - sent)
            run.bodies.append(body)
            run.statuses[status] = run.statuses.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(one_connection() for _ in range(connections)))
    run.seconds = time.perf_counter() - started
    return run


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)

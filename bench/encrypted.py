"""Upload and download of 256 MB objects with encryption at rest against the same without, in turns in one run."""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx2
import psutil

from bench.download import fetch, store
from bench.report import Row, spread
from bench.running import Service, databases, serving
from bench.upload import attempt_of, send

PAIRS = 5
COMMAND = "python -m bench encrypted"
SEALING = {"TRAINYARD_ENCRYPT_AT_REST": "true", "TRAINYARD_MASTER_KEY": "the master key of a measurement, no secret"}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two services, and the object that is downloaded from it."""

    service: Service
    url: str


def rows() -> Iterator[Row]:
    with databases() as available, ExitStack() as stack:
        first = available["SQLite"]
        plain = prepare(stack.enter_context(serving(first)))
        sealed = prepare(stack.enter_context(serving(first.replace("ledger.db", "sealed.db"), settings=SEALING)))
        started, busy = time.monotonic(), busy_seconds(plain, sealed)
        before = psutil.Process(sealed.service.pid).memory_info().rss
        uploads, downloads = upload_in_turns(plain, sealed), download_in_turns(plain, sealed)
        growth = (psutil.Process(sealed.service.pid).memory_info().rss - before) / 1e6
        others = (busy_seconds(plain, sealed) - busy) / (time.monotonic() - started)
    for what, pairs in (("upload", uploads), ("download", downloads)):
        ratios = [ours / theirs for ours, theirs in pairs]
        speeds = [statistics.median(side) for side in zip(*pairs, strict=True)]
        seen = f"{spread(ratios)} of the plain one ({speeds[0]:.0f} MB/s against {speeds[1]:.0f} MB/s)"
        yield Row(f"encrypted {what}, 256 MB", seen, "0.5", statistics.median(ratios) >= 0.5, COMMAND)
    yield Row("memory of the encrypting server meanwhile", f"grew by {growth:.0f} MB", "flat", growth < 32, COMMAND)
    yield Row("cores busy with other things meanwhile", f"{others:.1f} of {psutil.cpu_count()}", "", None, COMMAND)


def prepare(service: Service) -> Side:
    """One object is stored and read once, so that nothing of a first time is measured."""
    path = service.home / "model.bin"
    path.write_bytes(bytes(range(256)) * 1_000_000)
    url = store(service, path)
    fetch(url, service.key)
    return Side(service, url)


def upload_in_turns(plain: Side, sealed: Side) -> list[tuple[float, float]]:
    """MB per second, encrypted and plain."""
    with ExitStack() as stack:
        ways = []
        for side in (sealed, plain):
            base, token = attempt_of(side.service)
            http = stack.enter_context(httpx2.Client(headers={"Authorization": f"Bearer {token}"}, timeout=120))
            ways.append((http, base, side.service.home / "object.bin"))
        pairs = [(send(*ways[0], number), send(*ways[1], number)) for number in range(PAIRS + 1)]
    return pairs[1:]


def download_in_turns(plain: Side, sealed: Side) -> list[tuple[float, float]]:
    return [(fetch(sealed.url, sealed.service.key), fetch(plain.url, plain.service.key)) for _ in range(PAIRS)]


def busy_seconds(*sides: Side) -> float:
    """CPU seconds of this machine that neither the services nor we, with the programs that we started, have used."""
    times = psutil.cpu_times()
    ours = [psutil.Process(), *(psutil.Process(side.service.pid) for side in sides)]
    return float(sum(times) - times.idle - times.iowait) - sum(sum(process.cpu_times()[:4]) for process in ours)

"""What ``trainyard doctor`` looks at: one function per check, each answering what it saw and what to do about it."""

import shutil
import socket
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import httpx2

from trainyard.errors import ClientError, NotConfigured
from trainyard.retrying import RetryPolicy
from trainyard.settings import ClientSettings, find_settings
from trainyard.transport import Call, Transport
from trainyard.up.redis import find_redis

OLDEST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 4 << 30
LARGEST_CLOCK_DIFFERENCE = 5.0
NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    verdict: Verdict
    seen: str
    advice: str = ""

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def examine(folder: Path, *, port: int, url: str | None = None, home: Path | None = None) -> list[Finding]:
    """Every check, in the order in which a new user meets what it is about."""
    local = [check_python(), check_torch(), check_devices(), check_redis(), check_disk(folder), check_filesystem(folder)]
    try:
        settings = find_settings(url, home=home)
    except NotConfigured as error:
        return [*local, check_port(port), Finding("server", "warning", str(error))]
    return [*local, *check_server(settings)]


def check_python() -> Finding:
    seen = f"Python {sys.version.split()[0]} in {sys.prefix}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "problem", seen, "Trainyard needs Python 3.11 or newer.")
    return Finding("python", "ok", seen)


def check_torch() -> Finding:
    """By the package's metadata: importing torch takes seconds."""
    try:
        found = version("torch")
    except PackageNotFoundError:
        return Finding("torch", "warning", "not installed", "Only a node needs it: pip install 'trainyard[worker]'.")
    if num_gpus() and "+cpu" in found:
        return Finding("torch", "warning", f"torch {found}, and there is a GPU", "This build cannot use it: install a CUDA build.")
    return Finding("torch", "ok", f"torch {found}")


def check_devices() -> Finding:
    count = num_gpus()
    return Finding("devices", "ok", f"{count} NVIDIA GPU(s)" if count else "no NVIDIA GPU: ranks run on CPU slots")


def num_gpus() -> int:
    return len(list(NVIDIA_GPUS.iterdir())) if NVIDIA_GPUS.is_dir() else 0


def check_redis() -> Finding:
    binary = find_redis()
    if binary is None:
        return Finding("redis", "warning", "no redis-server", "Jobs start up to 5 s later without it: pip install 'trainyard[embedded]'.")
    return Finding("redis", "ok", str(binary))


def check_disk(folder: Path) -> Finding:
    present = _nearest(folder)
    free = shutil.disk_usage(present).free
    seen = f"{free >> 30} GiB free for {folder}"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "warning", seen, "Checkpoints and artifacts need more; --home chooses another place.")
    return Finding("disk", "ok", seen)


def check_filesystem(folder: Path) -> Finding:
    """Locks of SQLite and of devices need a local file system."""
    kind = filesystem_of(_nearest(folder), Path("/proc/mounts").read_text())
    if kind.startswith(("nfs", "cifs", "smb", "fuse.sshfs")):
        return Finding("file system", "problem", f"{folder} lies on {kind}", "Choose a local --home: file locks do not work over networks.")
    return Finding("file system", "ok", f"{folder} lies on {kind}")


def filesystem_of(path: Path, mounts: str) -> str:
    """The type of the longest mount point that holds ``path``; ``mounts`` is the text of /proc/mounts."""
    best, kind = -1, "unknown"
    for line in mounts.splitlines():
        point, found = line.split()[1:3]
        mount = Path(point.encode().decode("unicode_escape"))
        if path.is_relative_to(mount) and len(mount.parts) > best:
            best, kind = len(mount.parts), found
    return kind


def check_port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return Finding("port", "warning", f"{port} cannot be taken: {error.strerror}", "'trainyard up --port 0' takes a free one.")
    return Finding("port", "ok", f"{port} is free")


def check_server(settings: ClientSettings) -> Iterable[Finding]:
    """Whether it answers, is ready, knows the key, and has the same time and a worker."""
    transport = Transport(settings, timeout=5, retry=RetryPolicy(max_tries=1))
    try:
        answer = transport.answer(Call(method="GET", path="/healthz"))
    except ClientError as error:
        transport.close()
        return [Finding("server", "problem", str(error), "Start it with 'trainyard up', or correct TRAINYARD_URL.")]
    findings = [Finding("server", "ok", f"{settings.url} answers"), check_clock(answer), _check_ready(transport), _check_key(transport)]
    if findings[-1].verdict == "ok":
        findings.append(_check_workers(transport))
    transport.close()
    return findings


def check_clock(answer: httpx2.Response) -> Finding:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", ""))
    except (TypeError, ValueError):
        return Finding("clock", "warning", "the server does not tell its time")
    difference = abs((datetime.now(UTC) - theirs).total_seconds())
    if difference > LARGEST_CLOCK_DIFFERENCE:
        return Finding("clock", "warning", f"the server's differs by {difference:.0f} s", "Times in lists look wrong; leases do not care.")
    return Finding("clock", "ok", "agrees with the server's")


def _check_ready(transport: Transport) -> Finding:
    try:
        transport.answer(Call(method="GET", path="/readyz"))
    except ClientError as error:
        return Finding("readiness", "problem", str(error), "The server's log says more.")
    return Finding("readiness", "ok", "ledger and disk are ready")


def _check_key(transport: Transport) -> Finding:
    try:
        transport.answer(Call(method="GET", path="/v1/jobs", params={"limit": 1}))
    except ClientError as error:
        return Finding("key", "problem", str(error), "Set TRAINYARD_API_KEY to a key of this server.")
    return Finding("key", "ok", "is accepted")


def _check_workers(transport: Transport) -> Finding:
    states = [item["state"] for item in transport.answer(Call(method="GET", path="/v1/workers")).json()["data"]]
    online = states.count("online")
    if not online:
        return Finding("workers", "warning", f"none online of {len(states)}", "Jobs wait until one is: 'trainyard worker' runs one.")
    return Finding("workers", "ok", f"{online} online of {len(states)}")


def _nearest(folder: Path) -> Path:
    """The folder itself, or the first above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())

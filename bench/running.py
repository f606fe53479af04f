"""Starts what is measured: real databases, a real API process, a real node."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.bed.binaries import find_postgres, find_redis
from tests.bed.postgres import PostgresServer
from tests.bed.redis import RedisServer


@dataclass(frozen=True, slots=True)
class Service:
    url: str
    key: str
    worker_key: str
    pid: int
    home: Path
    environment: dict[str, str]

    def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
        """One request with the standard library; JSON in, JSON out."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers, method=method), timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """A fresh SQLite file on this disk, and a fresh PostgreSQL that waits for the disk at every commit, as SQLite does."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o711)  # PostgreSQL runs as another account than root
        postgres = PostgresServer(find_postgres(), Path(folder) / "postgres", durable=True)
        postgres.start()
        stack.callback(postgres.stop)
        yield {"SQLite": f"sqlite:///{folder}/ledger.db", "PostgreSQL": postgres.url(postgres.create_database())}


@contextmanager
def serving(database_url: str, *, broker_url: str | None = None, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[Service]:
    """An API process on a free loopback port, migrated, with an admin key and a worker key."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        home = Path(folder)
        port = free_port()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")},
            "TRAINYARD_DATABASE_URL": database_url,
            "TRAINYARD_DATA_DIR": str(home / "bytes"),
            "TRAINYARD_PORT": str(port),
            "TRAINYARD_LOG_LEVEL": "warning",
            **({"TRAINYARD_BROKER_URL": broker_url} if broker_url else {}),
            **settings,
        }
        run_api(environment, "migrate")
        key = run_api(environment, "create-key", "--project", "default", "--scopes", "admin", "--name", "bench")
        worker_key = run_api(environment, "create-key", "--project", "default", "--scopes", "worker", "--name", "bench-node")
        with (home / "api.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", "api", "serve"], env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_ready(url, process, home / "api.log")
            yield Service(url, key, worker_key, process.pid, home, environment)
        finally:
            stop(process)


@contextmanager
def node(service: Service, *, launch: str = "warm", cpu_slots: int = 2) -> Iterator[None]:
    """A worker on this machine; returns once it has registered and is online."""
    environment = {
        **service.environment,
        "TRAINYARD_API_URL": service.url,
        "TRAINYARD_WORKER_TOKEN": service.worker_key,
        "TRAINYARD_WORK_DIR": str(service.home / "node"),
        "TRAINYARD_LAUNCH": launch,
        "TRAINYARD_CPU_SLOTS": str(cpu_slots),
    }
    with (service.home / "node.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "worker"], env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not any(worker["state"] == "online" and worker["launch"] == launch for worker in service.call("GET", "/v1/workers")["data"]):
            if time.monotonic() > deadline:
                raise RuntimeError((service.home / "node.log").read_text()[-4000:])
            time.sleep(0.1)
        yield
    finally:
        stop(process)


@contextmanager
def broker() -> Iterator[str]:
    """A private Redis on a unix socket, whose path must be short."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        redis = RedisServer(find_redis(), Path(folder), socket=True)
        redis.start()
        try:
            yield redis.url
        finally:
            redis.stop()


def run_api(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "api", *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def wait_ready(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=2).close()
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the API did not start:\n{log.read_text()[-4000:]}") from None
            time.sleep(0.05)
        else:
            return


def stop(process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

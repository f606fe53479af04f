"""A private Redis: on a TCP port with a password, or on a unix socket."""

import secrets
from pathlib import Path

import redis

from tests.bed.binaries import Binary
from tests.bed.processes import DidNotStart, Process, free_port
from tests.bed.waiting import until


class RedisServer:
    """``socket=True`` listens on a unix socket (the embedded way), else on a loopback port and asks for a password.

    ``url`` is for Celery. Data survives ``kill9`` and ``start``: the append-only file is on.
    """

    def __init__(self, binary: Binary, home: Path, *, socket: bool = False) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.port = 0 if socket else free_port()
        self.password = "" if socket else secrets.token_hex(8)
        self.socket = home / "redis.sock" if socket else None
        where = ["--unixsocket", str(self.socket), "--unixsocketperm", "700"] if socket else ["--requirepass", self.password]
        keep = ["--dir", str(home), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction"]
        argv = [str(binary.path), "--port", str(self.port), "--bind", "127.0.0.1", *where, *keep]
        self.process = Process(argv, log=home / "redis.log", environment={})

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}" if self.socket else f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        if self.socket:
            return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5)
        return redis.Redis(host="127.0.0.1", port=self.port, password=self.password, socket_timeout=5)

    def start(self) -> None:
        self.process.start()
        until(self._answers, within=10, what="Redis answers a ping", explain=self.process.log_tail)

    def stop(self) -> None:
        self.process.stop()

    def kill9(self) -> None:
        self.process.kill9()

    def restart(self) -> None:
        self.stop()
        self.start()

    def flush(self) -> None:
        """Throws every message away, as an operator might."""
        with self.client() as client:
            client.flushall()

    def _answers(self) -> bool:
        if not self.process.is_running:
            raise DidNotStart(f"redis-server ended at once\n{self.process.log_tail()}")
        try:
            with self.client() as client:
                return bool(client.ping())
        except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
            return False

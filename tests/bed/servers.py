"""The servers of one test session: found, started when first asked for, stopped together."""

import os
import shutil
import sqlite3
import tempfile
from functools import cached_property
from pathlib import Path

from tests.bed.binaries import Source, find_postgres, find_redis
from tests.bed.postgres import PostgresServer
from tests.bed.redis import RedisServer
from tests.bed.s3 import S3Server

PREFIX = "ty-bed-"


def describe(source: Source = "any") -> str:
    """One line: which servers, which versions, from where."""
    return f"servers: {find_postgres(source)}, {find_redis(source)}, SQLite {sqlite3.sqlite_version}"


class Servers:
    """Real servers below one short-named folder (unix socket paths end at 107 bytes), which goes with them."""

    def __init__(self, source: Source = "any") -> None:
        self.source: Source = source
        _sweep()
        self.home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.home.chmod(0o711)
        self._redises: list[RedisServer] = []

    @cached_property
    def postgres(self) -> PostgresServer:
        """The session's PostgreSQL. A test that kills it starts it again."""
        server = PostgresServer(find_postgres(self.source), self.home / "postgres")
        server.start()
        return server

    @cached_property
    def s3(self) -> S3Server:
        """The session's S3-compatible store; everybody takes a bucket of their own."""
        server = S3Server(self.home / "s3")
        server.start()
        return server

    def new_redis(self, *, socket: bool = False) -> RedisServer:
        """A Redis of the caller's own, running: it costs 10 ms and 4 MB, so nobody shares one."""
        server = RedisServer(find_redis(self.source), self.home / f"redis-{len(self._redises)}", socket=socket)
        self._redises.append(server)
        server.start()
        return server

    def new_folder(self, name: str) -> Path:
        """A fresh folder with a short path."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.home))

    def close(self) -> None:
        for server in self._redises:
            server.stop()
        if "s3" in self.__dict__:
            self.s3.stop()
        if "postgres" in self.__dict__:
            self.postgres.stop()
        shutil.rmtree(self.home, ignore_errors=True)


def _sweep() -> None:
    """Removes what sessions have left that were killed before they could: their names hold the pid of who made them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)

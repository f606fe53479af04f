"""A private PostgreSQL: its own data folder, unix socket and loopback port."""

import os
import secrets
import shutil
import signal
import subprocess
from itertools import count
from pathlib import Path

import psycopg

from tests.bed.binaries import Binary
from tests.bed.processes import Account, DidNotStart, Process, free_port, unprivileged_account
from tests.bed.waiting import until

# Immediate shutdown: what is not checkpointed is replayed at the next start, and no client can hold it up.
IMMEDIATELY = signal.SIGQUIT
FAST = signal.SIGINT
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class PostgresServer:
    """One cluster in ``home``. Commits are written through to the kernel, so that ``kill9`` loses none of them;
    ``durable=True`` also asks the disk (``fsync``), which benchmarks want and tests do not need.
    """

    def __init__(self, binary: Binary, home: Path, *, durable: bool = False, max_connections: int = 200) -> None:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o711)  # the account that it runs as must be able to pass through
        self.home = home
        self.port = free_port()
        self.password = secrets.token_hex(8)
        self._account = unprivileged_account()
        self._bin = _reachable(binary.path.parent, home, self._account)
        self._names = count(1)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(max_connections),
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            "dynamic_shared_memory_type": "mmap",  # in the data folder: nothing is left in /dev/shm after kill -9
            "timezone": "UTC",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.process = Process(
            [str(self._bin / "postgres"), "-D", str(self.data), *options],
            log=home / "postgres.log",
            cwd=Path("/"),
            environment=_ENVIRONMENT,
            account=self._account,
            stop_signal=FAST,
            orphan_signal=IMMEDIATELY,
        )

    @property
    def data(self) -> Path:
        return self.home / "data"

    def url(self, database: str = "postgres") -> str:
        """For SQLAlchemy: ``postgresql+psycopg://...``."""
        return f"postgresql+psycopg://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self.process.start()
        until(self._answers, within=30, what="PostgreSQL accepts a connection", explain=self.process.log_tail)

    def stop(self) -> None:
        self.process.stop()

    def kill9(self) -> None:
        """SIGKILL to the postmaster; its children notice and go, and ``start`` recovers."""
        self.process.kill9()
        until(self._is_deserted, within=10, what="PostgreSQL's children are gone")

    def restart(self) -> None:
        self.stop()
        self.start()

    def create_database(self, *, template: str = "template1", name: str | None = None) -> str:
        """A new database; its name. ``template`` must have no connections."""
        name = name or f"test_{next(self._names)}_{secrets.token_hex(3)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> None:
        """One statement as the superuser, outside a transaction."""
        with self.connect(database) as connection:
            connection.execute(statement)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def _initialise(self) -> None:
        self.data.mkdir(parents=True, mode=0o700)
        secret = self.home / "password"
        secret.write_text(self.password)
        if self._account:
            self._account.own(self.data)
            self._account.own(secret)
        command = [str(self._bin / "initdb"), "-D", str(self.data), "-U", "postgres", "--pwfile", str(secret)]
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        log = self.home / "initdb.log"
        maker = Process([*command, *options], log=log, cwd=Path("/"), environment=_ENVIRONMENT, account=self._account)
        maker.start()
        if maker.wait(60) != 0:
            raise DidNotStart(f"initdb failed\n{maker.log_tail()}")

    def _answers(self) -> bool:
        if not self.process.is_running:
            raise DidNotStart(f"postgres ended at once\n{self.process.log_tail()}")
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _is_deserted(self) -> bool:
        """Whether no process has the data folder as its working directory any more."""
        for link in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if Path(os.readlink(link)) == self.data.resolve():
                    return False
            except OSError:
                continue
        return True


def _reachable(folder: Path, home: Path, account: Account | None) -> Path:
    """``folder`` itself, or a copy below ``home`` when ``account`` may not enter it (a checkout in root's home, say)."""
    if account is None:
        return folder
    try:
        command = [str(folder / "postgres"), "--version"]
        subprocess.run(command, user=account.uid, group=account.gid, extra_groups=[], capture_output=True, check=True, cwd="/")
    except PermissionError:
        shutil.copytree(folder.parent, home / "install", symlinks=True)
        return home / "install" / "bin"
    return folder

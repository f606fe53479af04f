"""The whole service as real processes: a ledger, a broker, the API and one node, with a handle on every part.

``embedded`` is SQLite with a private Redis on a unix socket, ``cluster`` is PostgreSQL with Redis over TCP. Leases are
short, so that a fault test costs seconds.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

import httpx2
import sqlalchemy

from core.db.engine import Database
from core.db.tables import jobs
from tests.bed.census import Seen, everyone, family, touching
from tests.bed.client import ServiceClient
from tests.bed.databases import Backend, Databases
from tests.bed.processes import DidNotStart, Process, free_port
from tests.bed.roles import attempt_of, role_of
from tests.bed.servers import Servers
from tests.bed.waiting import until

Part = Literal["api", "redis", "postgres", "node", "celery", "pad", "supervisor", "keeper", "agent", "rank"]
Kind = Literal["embedded", "cluster"]
BACKEND_OF: dict[Kind, Backend] = {"embedded": "sqlite", "cluster": "postgres"}
ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
# The node imports torch before it says that it is ready; on two busy cores that takes a while.
NODE_SECONDS = 90.0
KEY = re.compile(r"ty_[A-Za-z0-9_]+")


class Stack(ServiceClient):
    """Start, use, break, stop. As a ``with`` block it starts at the top and leaves no process at the end."""

    def __init__(
        self,
        servers: Servers,
        databases: Databases,
        *,
        kind: Kind = "embedded",
        lease_seconds: float = 3.0,
        num_devices: int = 2,
        api_env: Mapping[str, str] | None = None,
        node_env: Mapping[str, str] | None = None,
        node_user: int | None = None,
        node_sees: Sequence[Path] = (),
    ) -> None:
        self.kind = kind
        self.lease_seconds = lease_seconds
        self.home = servers.new_folder("stack")
        self.node_dir = self.home / "node"
        self.redis = servers.new_redis(socket=kind == "embedded")
        self.postgres = servers.postgres if kind == "cluster" else None
        self._databases = databases
        self.database_url = databases.fresh_url(BACKEND_OF[kind], self.home)
        self.port = free_port()
        url = f"http://127.0.0.1:{self.port}"
        shared = {**_plain_environment(), "TRAINYARD_BROKER_URL": self.redis.url, "TRAINYARD_LOG_LEVEL": "debug"}
        self._api_env = {
            **shared,
            "TRAINYARD_DATABASE_URL": self.database_url,
            "TRAINYARD_DATA_DIR": str(self.home / "bytes"),
            "TRAINYARD_HOST": "127.0.0.1",
            "TRAINYARD_PORT": str(self.port),
            "TRAINYARD_LEASE_TTL_SECONDS": str(lease_seconds),
            "TRAINYARD_MAINTENANCE_SECONDS": "0.25",
            **(api_env or {}),
        }
        admin, worker = self._create_key("admin,submit,read"), self._create_key("worker")
        self._node_env = {
            **shared,
            "TRAINYARD_API_URL": url,
            "TRAINYARD_WORKER_TOKEN": worker,
            "TRAINYARD_NODE_NAME": "node-1",
            "TRAINYARD_WORK_DIR": str(self.node_dir),
            "TRAINYARD_ACCELERATOR": "cpu",
            "TRAINYARD_CPU_SLOTS": str(num_devices),
            "TRAINYARD_POLL_SECONDS": "1",
            "TRAINYARD_STOP_GRACE_SECONDS": "8",
            **(node_env or {}),
        }
        super().__init__(url, admin)
        self.admin_key, self.worker_key = admin, worker
        self.api = self._process("api", ["-m", "api", "serve"], self._api_env)
        self.node = self._process("node", ["-m", "worker"], self._node_env)
        if node_user is not None:
            self.node_dir.mkdir()
            os.chown(self.node_dir, node_user, node_user)
            seen = (sys.prefix, sys.base_prefix, str(ROOT), str(self.node_dir), *map(str, node_sees))
            self.node.argv[1:1] = ["-m", "tests.bed.as_user", str(node_user), *seen, "--", sys.executable]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.start_api()
        self.start_node()

    def start_api(self) -> None:
        self.api.start()
        until(lambda: self._is_ready(self.api), within=START_SECONDS, what="/readyz answers 200", explain=self.logs)

    def start_node(self) -> None:
        self.node.start()
        self.wait_for_node()

    def wait_for_node(self, seconds: float = NODE_SECONDS) -> None:
        """Until the node is registered, online, and its Celery worker and launch pad run."""

        def is_whole() -> bool:
            online = any(worker["state"] == "online" for worker in self.get("/v1/workers")["data"])
            has_pad = bool(self.pids("pad")) or self._node_env.get("TRAINYARD_LAUNCH") == "cold"
            return online and bool(self.pids("celery")) and has_pad

        if not self.node.is_running:
            raise DidNotStart(f"the node ended with {self.node.exit_code}\n{self.logs()}")
        until(is_whole, within=seconds, what="the node is online and whole", explain=self.logs, pause=0.1)

    def stop(self) -> None:
        """Ends every process of this stack, those that outlived their parents too."""
        self.close()
        for process in (self.node, self.api):
            process.kill9()
        for person in self._everyone_here():
            _kill(person.pid)
        until(lambda: not self._everyone_here(), within=10, what="every process of the stack is gone", explain=self.census)
        self.redis.stop()
        self._databases.forget(self.database_url)

    def pids(self, part: Part, *, job: str | None = None) -> list[int]:
        """The live processes that play this part, of this job when one is named."""
        if part in ("api", "redis", "postgres", "node"):
            process = self._server(part)
            return [process.pid] if process.is_running else []
        people = {person.pid: person for person in everyone()}
        mine = [person for person in self._everyone_here(list(people.values())) if role_of(person, people) == part]
        if job and part in ("keeper", "agent", "rank"):
            attempts = {attempt["id"] for attempt in self.attempts(job)}
            mine = [person for person in mine if attempt_of(person) in attempts]
        if job and part == "supervisor":  # it hides its memory, but leaves a note that says which job it runs
            notes = {path.read_text() for path in (self.node_dir / "running").glob(f"{job}.*")}
            mine = [person for person in mine if str(person.pid) in notes]
        return sorted(person.pid for person in mine)

    def pid(self, part: Part, *, job: str | None = None, seconds: float = 10) -> int:
        """The one process that plays this part (of a rank, the last one), waited for."""
        return until(lambda: self.pids(part, job=job), within=seconds, what=f"a live {part}", explain=self.census)[-1]

    def kill(self, part: Part, *, job: str | None = None) -> int:
        """kill -9, and wait until it is dead; the pid it had."""
        if part == "postgres":
            assert self.postgres is not None
            pid = self.postgres.process.pid
            self.postgres.kill9()
            return pid
        if part in ("api", "redis", "node"):
            process = self._server(part)
            pid = process.pid
            process.kill9()
            return pid
        pid = self.pid(part, job=job)
        _kill(pid)
        until(lambda: pid not in [person.pid for person in everyone()], within=10, what=f"{part} {pid} is dead")
        return pid

    def lose_node(self) -> None:
        """As when its machine loses power: every process of the node is dead at once, and nobody has said goodbye."""
        spared = {person.pid for person in family(self.api.pid, everyone())} | {self.api.pid, self.redis.process.pid}
        lost = [person.pid for person in self._everyone_here() if person.pid not in spared]
        for _ in range(2):  # a second round for what was being forked
            for pid in lost:
                _kill(pid)
        until(lambda: not {person.pid for person in everyone()} & set(lost), within=10, what="the node is dead", explain=self.census)

    def restart(self, part: Literal["api", "redis", "postgres", "node"]) -> None:
        """Starts a part again, stopping it first where it runs, and waits until it answers."""
        if part == "postgres":
            assert self.postgres is not None
            self.postgres.restart()
        elif part == "redis":
            self.redis.restart()
        else:
            self._server(part).stop()
            starts: dict[str, Callable[[], None]] = {"api": self.start_api, "node": self.start_node}
            starts[part]()

    @contextmanager
    def frozen(self, part: Part, *, job: str | None = None) -> Iterator[int]:
        """SIGSTOP for as long as the block lasts, then SIGCONT."""
        pid = self.pid(part, job=job)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGCONT)

    def flush_broker(self) -> None:
        self.redis.flush()

    def survivors(self, job: str) -> list[Seen]:
        """Processes that have anything of this job's run directories or attempts about them."""
        marks = [job, *(attempt["id"] for attempt in self.attempts(job))]
        people = everyone()
        return [person for mark in marks for person in touching(mark, people)]

    def expect_no_survivors(self, job: str, *, seconds: float) -> None:
        """No process of the job's attempts is left, within so many seconds."""
        until(lambda: not self.survivors(job), within=seconds, what=f"no process of {job} is left", explain=self.census)

    def rows_of_attempt(self, job: str, number: int) -> dict[str, list[tuple[object, ...]]]:
        """Every row that belongs to one attempt, by table: what a fenced-off worker must not be able to change."""
        attempt = self.attempt(job, number)
        assert attempt is not None
        database = Database(self.database_url)
        found = {}
        with database.read() as tx:
            for table in jobs.metadata.sorted_tables:
                column = table.c.get("attempt_id", table.c.id if table.name == "attempts" else None)
                if column is not None:
                    rows = tx.execute(sqlalchemy.select(table).where(column == attempt["id"]).order_by(*table.primary_key)).all()
                    found[table.name] = [tuple(row) for row in rows]
        database.dispose()
        return found

    def logs(self) -> str:
        """The ends of every log, for the message of a failed test."""
        return "\n".join(f"--- {name}:\n{process.log_tail(60)}" for name, process in (("api", self.api), ("node", self.node)))

    def census(self) -> str:
        """Every process of the stack with its role, for the message of a failed test."""
        people = {person.pid: person for person in everyone()}
        here = self._everyone_here(list(people.values()))
        return "\n".join(f"{p.pid:7} {p.parent:7} {role_of(p, people) or '-':10} {p.command[:120]}" for p in here)

    def explain(self, job: str) -> str:
        return f"{super().explain(job)}\n{self.census()}\n{self.logs()}"

    def _server(self, part: str) -> Process:
        if part == "postgres":
            assert self.postgres is not None
            return self.postgres.process
        return {"api": self.api, "node": self.node, "redis": self.redis.process}[part]

    def _process(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> Process:
        return Process([sys.executable, *arguments], log=self.home / f"{name}.log", environment=environment, cwd=ROOT)

    def _create_key(self, scopes: str) -> str:
        command = [sys.executable, "-m", "api", "create-key", "--project", "default", "--scopes", scopes, "--name", f"bed-{scopes}"]
        said = subprocess.run(command, env=self._api_env, cwd=ROOT, capture_output=True, text=True, check=False)
        found = KEY.search(said.stdout)
        if said.returncode != 0 or not found:
            raise DidNotStart(f"no key was made\n{said.stdout}\n{said.stderr}")
        return found.group()

    def _is_ready(self, process: Process) -> bool:
        if not process.is_running:
            raise DidNotStart(f"it ended with {process.exit_code}\n{process.log_tail()}")
        try:
            return self.http.get("/readyz").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def _everyone_here(self, people: list[Seen] | None = None) -> list[Seen]:
        """Everything that mentions our folder, and its descendants. Who holds a token hides its memory: it is found by its parent."""
        people = everyone() if people is None else people
        roots = {process.pid for process in (self.api, self.node) if process.is_running}
        roots |= {person.pid for person in touching(str(self.home), people)}
        here = roots | {person.pid for root in roots for person in family(root, people)}
        return [person for person in people if person.pid in here and person.pid != os.getpid()]


def _plain_environment() -> dict[str, str]:
    """Ours without any setting of the product, so that nothing outside the bed decides a test."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

"""The bed's servers are real: they keep what was committed through a kill -9, and leave nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from core.db.engine import Database
from tests.bed.binaries import Binary
from tests.bed.processes import Process
from tests.bed.redis import RedisServer
from tests.bed.servers import Servers
from tests.bed.waiting import NotInTime, until


def test_each_test_gets_a_migrated_ledger_of_its_own(db: Database) -> None:
    with db.begin() as tx:
        assert tx.execute(text("SELECT count(*) FROM jobs")).scalar_one() == 0
        tx.execute(text("INSERT INTO projects (id, name, created_at) VALUES ('p', 'p', 0)"))


def test_a_committed_row_survives_the_kill_of_postgres(servers: Servers) -> None:
    postgres = servers.postgres
    database = postgres.create_database()
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        postgres.kill9()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT number FROM kept")
    postgres.start()
    with postgres.connect(database) as connection:
        assert connection.execute("SELECT number FROM kept").fetchall() == [(7,)]
    postgres.drop_database(database)


@pytest.mark.parametrize("socket", [True, False], ids=["unix socket", "port and password"])
def test_redis_answers_and_comes_back_after_a_kill(servers: Servers, socket: bool) -> None:
    redis = servers.new_redis(socket=socket)
    with redis.client() as client:
        client.set("kept", "7")
        client.bgrewriteaof()
        until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, within=5, what="the file is written")
    redis.kill9()
    redis.start()
    with redis.client() as client:
        assert client.get("kept") == b"7"
    redis.flush()
    with redis.client() as client:
        assert client.dbsize() == 0


def test_the_wheels_alone_are_enough(tmp_path_factory: pytest.TempPathFactory) -> None:
    servers = Servers("wheels")
    try:
        with servers.postgres.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with servers.new_redis().client() as client:
            assert client.ping()
    finally:
        servers.close()
    assert not servers.home.exists()


def test_a_process_of_the_bed_dies_with_its_owner(tmp_path: Path) -> None:
    """The owner is a Python process of its own, killed as hard as it gets."""
    note = tmp_path / "pid"
    program = (
        "import os, signal; from pathlib import Path; from tests.bed.processes import Process\n"
        f"child = Process(['sleep', '600'], log=Path({str(tmp_path / 'log')!r}), environment=dict(os.environ)); child.start()\n"
        f"Path({str(note)!r}).write_text(str(child.pid)); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    owner = subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2])
    assert owner.returncode == -signal.SIGKILL
    orphan = int(note.read_text())
    until(lambda: not _is_alive(orphan), within=5, what="the orphan is gone")


def test_stopping_kills_a_process_that_does_not_listen(tmp_path: Path) -> None:
    deaf = Process(
        [sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"],
        log=tmp_path / "log",
        environment=dict(os.environ),
    )
    deaf.start()
    until(lambda: "deaf" in deaf.log_tail(), within=10, what="it ignores SIGTERM")
    assert deaf.stop(timeout=0.2) == -signal.SIGKILL


def test_waiting_ends_at_its_deadline_with_an_explanation() -> None:
    with pytest.raises(NotInTime, match=r"the moon.*last answer: False\nlogs"):
        until(lambda: False, within=0.05, what="the moon", explain=lambda: "logs")


def test_a_server_whose_process_ends_says_so(tmp_path: Path) -> None:
    redis = RedisServer(Binary(Path("/bin/false"), "no version"), tmp_path)
    with pytest.raises(RuntimeError, match="redis-server ended at once"):
        redis.start()


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

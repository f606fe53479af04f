"""Processes that die in the middle: whatever was acknowledged is there afterwards, and nothing half of it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import select

from core.db.engine import Database
from core.db.tables import events, jobs

# Eight threads submit as fast as they can and print the id of each job that was acknowledged.
SUBMIT = """
import sys, threading
from datetime import UTC, datetime
from core.access.projects import ensure_project
from core.db.engine import Database
from core.failpoints import arm, hit
from core.jobs.submit import submit
from core.recipes import parse_spec

db, now, spec = Database(sys.argv[1]), datetime.now(UTC), parse_spec('{"recipe":"scripted"}')
with db.begin() as tx:
    project = ensure_project(tx, "default", now)
arm(sys.argv[2] or None)

def post():
    while True:
        with db.begin() as tx:
            job_id = submit(tx, project_id=project, spec=spec, now=now, max_queued=100_000)
            hit("submit.before_commit")
        hit("submit.after_commit")
        sys.stdout.write(job_id + "\\n")
        sys.stdout.flush()

for _ in range(int(sys.argv[3])):
    threading.Thread(target=post, daemon=True).start()
threading.Event().wait()
"""


@contextmanager
def _submitting(url: str, failpoint: str = "", threads: int = 8) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", SUBMIT, url, failpoint, str(threads)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _stored(url: str) -> tuple[set[str], set[str]]:
    """The ids of all jobs, and of those whose first event is there."""
    database = Database(url)
    with database.read() as tx:
        found = set(tx.scalars(select(jobs.c.id))), set(tx.scalars(select(events.c.job_id)))
    database.dispose()
    return found


def test_promise_01_a_job_that_was_acknowledged_survives_kill_9(database_url: str) -> None:
    with _submitting(database_url) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(100)]
        process.kill()
        acknowledged += process.stdout.readlines()
    told = {line.strip() for line in acknowledged if line.endswith("\n")}
    stored, with_event = _stored(database_url)
    assert len(told) >= 100
    assert told <= stored
    assert stored == with_event


@pytest.mark.parametrize(("failpoint", "num_stored"), [("submit.before_commit:kill", 0), ("submit.after_commit:kill", 1)])
def test_a_failpoint_kills_on_its_side_of_the_commit(database_url: str, failpoint: str, num_stored: int) -> None:
    with _submitting(database_url, failpoint, threads=1) as process:
        assert process.wait(60) == -signal.SIGKILL
        assert process.stdout is not None
        assert process.stdout.read() == ""
    stored, with_event = _stored(database_url)
    assert len(stored) == len(with_event) == num_stored

"""Locks and folders of a node: who is running here, and what may be removed."""

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

from core.run_dir import RunDir
from tests.bed.waiting import until
from worker.node_dir import NodeDir

HOLD = """
import sys
from pathlib import Path
from worker.node_dir import NodeDir
with NodeDir(Path(sys.argv[1])).announced("job_1", 2):
    print("here", flush=True)
    sys.stdin.read()
"""
DAY = timedelta(days=1)


def age(folder: Path, by: timedelta) -> None:
    then = time.time() - by.total_seconds()
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (then, then))


def test_a_supervisor_is_seen_while_it_lives_and_not_after_kill_9(tmp_path: Path) -> None:
    node_dir = NodeDir.create(tmp_path)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(node_dir.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "here\n"
        assert node_dir.running_jobs() == {"job_1"}
        assert node_dir.supervisors() == [holder.pid]
        holder.kill()
    until(lambda: node_dir.running_jobs() == set(), within=5, what="nobody is there any more")
    assert node_dir.prune_runs(DAY) == []
    assert list(node_dir.running.iterdir()) == []


def test_announcing_ends_with_the_block(tmp_path: Path) -> None:
    node_dir = NodeDir.create(tmp_path)
    with node_dir.announced("job_1", 1):
        assert list(node_dir.running.iterdir()) != []
    assert node_dir.running_jobs() == set()


def test_old_runs_go_and_running_ones_and_young_ones_stay(tmp_path: Path) -> None:
    node_dir = NodeDir.create(tmp_path)
    for job in ("job_old", "job_running", "job_young"):
        RunDir.create(node_dir.run_dir(job, 1).root)
    age(node_dir.jobs / "job_old", 2 * DAY)
    age(node_dir.jobs / "job_running", 2 * DAY)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD.replace("job_1", "job_running"), str(node_dir.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert node_dir.prune_runs(DAY) == ["job_old"]
        holder.kill()
    assert {folder.name for folder in node_dir.jobs.iterdir()} == {"job_running", "job_young"}


def test_earlier_attempts_come_newest_first(tmp_path: Path) -> None:
    node_dir = NodeDir.create(tmp_path)
    for number in (1, 2, 10, 11):
        RunDir.create(node_dir.run_dir("job_1", number).root)
    assert [run_dir.root.name for run_dir in node_dir.earlier_run_dirs("job_1", 11)] == ["a10", "a2", "a1"]


def test_a_supervisor_is_never_overlooked_while_others_look_for_dead_ones(tmp_path: Path) -> None:
    node_dir = NodeDir.create(tmp_path)
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            node_dir.prune_runs(DAY)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(300):
            with node_dir.announced("job_1", number):
                assert node_dir.running_jobs() == {"job_1"}
    finally:
        done.set()
        looking.join(10)

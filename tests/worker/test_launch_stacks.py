"""A hung rank's stacks are read from outside."""

import os
from pathlib import Path

from tests.worker.trees import Site, reserved
from worker.launcher import Launcher
from worker.stacks import dump_stacks


def test_the_stack_of_a_rank_tells_where_it_stands(door: Path, site: Site) -> None:
    with reserved(site) as reservation, Launcher(door).start(site.plan("stay"), reservation.fd):
        rank = int(site.wait_told("ready")[0])
        stacks = dump_stacks([rank])
    assert "leave_when_asked (" in stacks[rank]
    assert "rank.py" in stacks[rank]


def test_a_process_that_is_gone_has_no_stack_and_is_no_error() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert dump_stacks([pid])[pid].startswith("no stacks: ")

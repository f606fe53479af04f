"""The torchrun agent of one attempt: starts the ranks, watches them, and tells in ``ranks.json`` which of them failed.

Warm, it is a fork of the launch pad and its ranks are forks of it; cold, it is ``python -m trainer.agent`` and its ranks are
programs of their own. Its standard input is the open file that holds the devices' locks, and is handed on to every rank.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from torch.distributed.elastic.multiprocessing.api import MultiprocessContext, PContext, SignalException, SubprocessContext
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from trainer.lifeline import AGENT_PID, die_with_parent

log = logging.getLogger(__name__)

# Ranks are forks only if their entry point is a function, and it is one only with --run-path.
FORKED_RANKS = ("--start-method=fork", "--run-path")


class Failure(TypedDict):
    """``core.run_dir.RankFailure``, without pydantic: a cold start would wait 0.15 s for its import."""

    rank: int
    exit_code: int
    message: str | None
    at: float


def main(ranks_file: Path, arguments: Sequence[str], *, forks_ranks: bool = False) -> int:
    """Runs torchrun with ``arguments`` and answers the exit code: 0, 1 when a rank failed, 128 + n when signal n stopped it."""
    die_with_parent()
    os.environ[AGENT_PID] = str(os.getpid())  # why: how the ranks know whose child they must be
    # multiprocessing closes a child's sys.stdin and the descriptor with it: the rank would let go of its devices.
    sys.stdin = None
    stopped = record_failures(ranks_file)
    try:
        torchrun([*(FORKED_RANKS if forks_ranks else ()), *arguments])
    except ChildFailedError as error:
        log.error("%s", error)
        return 1
    except SignalException as error:
        if stopped and set(exit_codes(stopped[-1]).values()) == {0}:
            write_ranks(ranks_file, [], left_in_order=True)
        return 128 + int(error.sigval)
    return 0


def record_failures(ranks_file: Path) -> list[PContext]:
    """Has ``ranks_file`` written at the moment when torchrun, having found a failed rank, begins to stop the others.

    torchrun itself keeps one failure of forked ranks, of others also those that it caused. Which rank was dead before it
    laid hands on any is known at this moment only. The answer grows by the ranks that torchrun has stopped, or seen end.
    """
    stop_ranks = PContext.close
    done: list[PContext] = []

    def close(self: PContext, *args: object, **kwargs: object) -> None:
        if self not in done:
            done.append(self)
            if failures := failures_so_far(self):
                write_ranks(ranks_file, failures)
        stop_ranks(self, *args, **kwargs)  # type: ignore[arg-type]

    PContext.close = close  # type: ignore[method-assign]
    return done


def failures_so_far(ranks: PContext) -> list[Failure]:
    """Each rank that has ended with another code than 0, in the order in which they failed, as far as that is known."""
    failures = []
    for rank, code in exit_codes(ranks).items():
        if code:
            error_file = Path(ranks.error_files[rank])
            failures.append(Failure(rank=rank, exit_code=code, message=message_in(error_file), at=failed_at(error_file)))
    return sorted(failures, key=lambda failure: failure["at"])


def write_ranks(ranks_file: Path, failures: list[Failure], *, left_in_order: bool = False) -> None:
    """Replaced in one step and made durable, like every file of a run directory."""
    temporary = ranks_file.with_name(f".{ranks_file.name}.{os.getpid()}")
    with temporary.open("w") as file:
        json.dump({"failures": failures, "left_in_order": left_in_order}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(ranks_file)


def exit_codes(ranks: PContext) -> dict[int, int | None]:
    """By rank; None while it runs. On one node the local rank is the rank."""
    if isinstance(ranks, SubprocessContext):
        return {rank: handler.proc.poll() for rank, handler in ranks.subprocess_handlers.items()}
    if isinstance(ranks, MultiprocessContext) and ranks._pc is not None:
        return {rank: process.exitcode for rank, process in enumerate(ranks._pc.processes)}
    return {}


def failed_at(error_file: Path) -> float:
    """Unix seconds. A rank writes its error file before its sockets close: the oldest one is not a consequence of the others."""
    try:
        return error_file.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def message_in(error_file: Path) -> str | None:
    """``ClassName: text`` of the exception that ended the rank; None when no exception did."""
    try:
        content = json.loads(error_file.read_bytes())
    except (OSError, ValueError):
        return None
    message = content.get("message") if isinstance(content, dict) else None
    if isinstance(message, dict):
        message = message.get("message")
    return message if isinstance(message, str) else None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))

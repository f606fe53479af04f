"""Why an attempt ended, told from the files that it left: torchrun's exit code is 1 for everything.

``read_evidence`` reads, ``classify`` decides and touches nothing. The table is in ``docs/RUN_DIR.md``; the first matching row wins.
"""

import os
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, Field, ValidationError

from core.inside import open_inside
from core.run_dir import REASON_OF_EXCEPTION, RankFailure, RanksFile, ResultFile, RunDir, StopFile, read_model
from core.states import Reason

Model = TypeVar("Model", bound=BaseModel)

REASON_OF_STOP = {"cancel": Reason.CANCELLED, "pause": Reason.PAUSED, "drain": Reason.DRAINED}
TAIL_BYTES, TAIL_LINES = 32 << 10, 100
MAX_MESSAGE, MAX_STACK = 20_000, 100_000

# What libstdc++ prints when gloo's threads are destroyed under it: an accident of leaving, not of the user's code.
TEARDOWN_ABORT = "terminate called without an active exception"


class ExtraInfo(BaseModel):
    py_callstack: str | None = None


class ErrorMessage(BaseModel):
    message: str = ""
    extra_info: ExtraInfo = Field(default=ExtraInfo(), alias="extraInfo")


class ErrorFile(BaseModel):
    """torchrun's ``error.json``: ``message`` is an object for exceptions, a text for the ends of processes."""

    message: ErrorMessage | str = ""

    @property
    def text(self) -> str:
        """``ClassName: what it says``."""
        return self.message if isinstance(self.message, str) else self.message.message

    @property
    def stack(self) -> str | None:
        return None if isinstance(self.message, str) else self.message.extra_info.py_callstack

    @property
    def exception(self) -> str:
        """The name of the exception's class, without its module."""
        return self.text.split(":", 1)[0].strip().rsplit(".", 1)[-1]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the run directory says. A file that is there but cannot be read counts as absent and is named in ``broken``."""

    result: ResultFile | None = None
    stop: StopFile | None = None
    ranks: RanksFile | None = None  # which ranks were dead before torchrun stopped the others
    error: ErrorFile | None = None  # of the rank that failed first, or of torchrun itself when no rank has
    log_tail: str = ""  # the last lines of that rank's standard error
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    reason: Reason
    forced: bool = False  # asked to stop, but ended before it could do so in order
    message: str = ""
    rank: int | None = None
    exit_code: int | None = None  # the rank's own; negative: killed by this signal
    stack: str | None = None
    log_tail: str | None = None


def classify(evidence: Evidence, returncode: int | None, *, num_oom_kills: int = 0, owes_result: bool = True) -> Outcome:
    """``returncode`` is torchrun's; ``num_oom_kills`` is how many processes the kernel has killed for memory meanwhile.

    ``owes_result`` is false for a program that knows nothing of ``result.json``: it has completed when every rank left with code 0.
    """
    result, stop = evidence.result, evidence.stop
    if result is not None and result.outcome == "succeeded":
        return Outcome(reason=Reason.COMPLETED, message=f"finished at step {result.step}")
    if result is not None and stop is not None:
        return Outcome(reason=REASON_OF_STOP[stop.reason], message=f"stopped at step {result.step}, as asked")
    if stop is not None and not owes_result and _left_in_order(evidence, returncode):
        return Outcome(reason=REASON_OF_STOP[stop.reason], message="every rank left with code 0, as asked")
    if stop is not None:
        return Outcome(reason=REASON_OF_STOP[stop.reason], forced=True, message="ended before it could stop in order")
    if result is not None:
        return Outcome(reason=Reason.RANK_DIED, message=f"stopped at step {result.step} by a signal from outside")
    if evidence.ranks is not None and evidence.ranks.failures:
        return _blame(root_failure(evidence.ranks.failures), evidence, num_oom_kills)
    if returncode == 0 and not owes_result:
        return Outcome(reason=Reason.COMPLETED, message="every rank ended with code 0")
    return _without_a_failed_rank(evidence, returncode)


def _left_in_order(evidence: Evidence, returncode: int | None) -> bool:
    """Of a program without a ``result.json``: every rank left by itself with code 0, before or after the signal came to it."""
    return returncode == 0 or (evidence.ranks is not None and evidence.ranks.left_in_order)


def root_failure(failures: Iterable[RankFailure]) -> RankFailure:
    """The rank that failed first. ``failures`` are in the order in which they are known to have happened.

    A rank that was killed or left with a code of its own had no peer to blame; an exception may be the echo of such an end
    (connection closed by peer), and an abort may follow an exception.
    """
    return min(failures, key=_innocence)


def _innocence(failure: RankFailure) -> int:
    if failure.message is not None:
        return 3 if _reason_of_exception(failure.message) is Reason.RANK_DIED else 1
    return 2 if failure.exit_code in (-signal.SIGABRT, -signal.SIGTERM) else 0


def _reason_of_exception(text: str) -> Reason:
    return REASON_OF_EXCEPTION.get(ErrorFile(message=text).exception, Reason.USER_ERROR)


def _blame(failure: RankFailure, evidence: Evidence, num_oom_kills: int) -> Outcome:
    error = evidence.error if failure.message is not None else None
    reason = _reason_of(failure, evidence, num_oom_kills)
    return Outcome(
        reason=reason,
        message=_describe(failure, reason, evidence.log_tail)[:MAX_MESSAGE],
        rank=failure.rank,
        exit_code=failure.exit_code,
        stack=error.stack[:MAX_STACK] if error is not None and error.stack else None,
        log_tail=evidence.log_tail or None,
    )


def _reason_of(failure: RankFailure, evidence: Evidence, num_oom_kills: int) -> Reason:
    if failure.message is not None:
        return _reason_of_exception(failure.message)
    if failure.exit_code == -signal.SIGKILL:
        return Reason.HOST_OUT_OF_MEMORY if num_oom_kills else Reason.RANK_DIED
    if failure.exit_code == -signal.SIGABRT and TEARDOWN_ABORT in evidence.log_tail:
        return Reason.RANK_DIED
    if failure.exit_code in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGQUIT):
        return Reason.RANK_DIED  # nobody of ours has sent it before the rank died
    return Reason.USER_ERROR


def _describe(failure: RankFailure, reason: Reason, log_tail: str) -> str:
    if failure.message is not None:
        return failure.message
    if failure.exit_code >= 0:
        # A script of the user's own may not be recorded by torchrun; Python has told its log.
        last_word = f": {log_tail.splitlines()[-1]}" if "Traceback (most recent call last)" in log_tail else ""
        return f"rank {failure.rank} exited with code {failure.exit_code}{last_word}"
    try:
        name = signal.Signals(-failure.exit_code).name
    except ValueError:
        name = f"signal {-failure.exit_code}"
    because = ": the node ran out of memory" if reason is Reason.HOST_OUT_OF_MEMORY else ""
    return f"rank {failure.rank} was killed by {name}{because}"


def _without_a_failed_rank(evidence: Evidence, returncode: int | None) -> Outcome:
    if "ranks.json" in evidence.broken and evidence.error is not None:
        return _of_error_alone(evidence.error, evidence)
    if evidence.error is not None:
        # torchrun writes its own exceptions to the same file; a rank's would have come with a ranks.json.
        return Outcome(
            reason=Reason.RANK_DIED,
            message=f"the launcher failed: {evidence.error.text}"[:MAX_MESSAGE],
            stack=evidence.error.stack,
            exit_code=returncode,
        )
    damage = f" (unreadable: {', '.join(evidence.broken)})" if evidence.broken else ""
    if returncode == 0:
        return Outcome(reason=Reason.PROTOCOL, message=f"every rank ended, but none has left a result{damage}", exit_code=0)
    return Outcome(reason=Reason.RANK_DIED, message=f"the launcher was killed{damage}", exit_code=returncode)


def _of_error_alone(error: ErrorFile, evidence: Evidence) -> Outcome:
    return Outcome(
        reason=_reason_of_exception(error.text),
        message=error.text[:MAX_MESSAGE],
        stack=error.stack,
        log_tail=evidence.log_tail or None,
    )


def read_evidence(run_dir: RunDir) -> Evidence:
    """Reads whatever is there; nothing that the ranks can have written makes it fail."""
    broken: list[str] = []
    ranks = _read(run_dir.ranks, RanksFile, broken)
    root = root_failure(ranks.failures) if ranks is not None and ranks.failures else None
    error = _read(run_dir.error, ErrorFile, broken)
    tail = ""
    if root is not None:
        # torchrun compares whole seconds, so its own choice for error.json may be an echo.
        error = _read(_rank_file(run_dir, root.rank, "error.json"), ErrorFile, broken, run_dir.logs) or error
        tail = last_lines(run_dir.logs, _rank_file(run_dir, root.rank, "stderr.log"))
    return Evidence(
        result=_read(run_dir.result, ResultFile, broken),
        stop=_read(run_dir.stop, StopFile, broken),
        ranks=ranks,
        error=error,
        log_tail=tail,
        broken=tuple(broken),
    )


def last_lines(root: Path, path: Path) -> str:
    """The end of a log below ``root``: ``TAIL_LINES`` lines of ``TAIL_BYTES`` at most, undecodable bytes replaced; empty without one."""
    try:
        with open_inside(root, path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def _rank_file(run_dir: RunDir, rank: int, name: str) -> Path:
    """Where torchrun's ``--log-dir`` keeps what one rank has left; on one node the local rank is the rank."""
    found = sorted(run_dir.logs.glob(f"*/attempt_0/{rank}/{name}"))
    return found[-1] if found else run_dir.logs / f"no-{name}-of-rank-{rank}"


def _read(path: Path, model: type[Model], broken: list[str], root: Path | None = None) -> Model | None:
    try:
        return read_model(path, model, root=root)
    except (OSError, ValidationError):
        broken.append(path.name)
        return None


def num_oom_kills(memory_events: str) -> int:
    """``oom_kill`` in the text of a cgroup's ``memory.events`` (version 2) or ``memory.oom_control`` (version 1)."""
    found = re.search(r"^oom_kill (\d+)$", memory_events, re.MULTILINE)
    return int(found.group(1)) if found else 0

"""Why an attempt ended: the table, the culprit among several failed ranks, and files that are torn."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.run_dir import RankFailure, RanksFile, ResultFile, RunDir, StopFile
from core.states import Reason
from worker.outcome import ErrorFile, Evidence, Outcome, classify, num_oom_kills, read_evidence

SUCCEEDED = ResultFile(outcome="succeeded", step=40)
STOPPED = ResultFile(outcome="stopped", step=7)


def stop(reason: str) -> StopFile:
    return StopFile.model_validate({"reason": reason, "asked_at": datetime(2026, 1, 1, tzinfo=UTC)})


def error(text: str) -> ErrorFile:
    return ErrorFile.model_validate({"message": {"message": text, "extraInfo": {"py_callstack": f"Traceback: {text}", "timestamp": "1"}}})


def failed(rank: int, code: int, message: str | None = None, at: float = 0) -> RankFailure:
    return RankFailure(rank=rank, exit_code=code, message=message, at=at)


def ranks(*failures: RankFailure) -> RanksFile:
    return RanksFile(failures=failures)


RAISED = Evidence(ranks=ranks(failed(1, 1, "ValueError: no")), error=error("ValueError: no"))


@pytest.mark.parametrize(
    ("evidence", "returncode", "reason", "is_forced"),
    [
        (Evidence(result=SUCCEEDED), 0, Reason.COMPLETED, False),
        (Evidence(result=SUCCEEDED, stop=stop("cancel")), 0, Reason.COMPLETED, False),
        (Evidence(result=SUCCEEDED, ranks=ranks(failed(0, -6)), error=error("RuntimeError: x")), 1, Reason.COMPLETED, False),
        (Evidence(result=STOPPED, stop=stop("cancel")), 143, Reason.CANCELLED, False),
        (Evidence(result=STOPPED, stop=stop("pause")), 143, Reason.PAUSED, False),
        (Evidence(result=STOPPED, stop=stop("drain"), ranks=ranks(failed(0, -6))), 1, Reason.DRAINED, False),
        (Evidence(stop=stop("cancel")), -9, Reason.CANCELLED, True),
        (Evidence(stop=stop("pause"), ranks=ranks(failed(0, -9))), 1, Reason.PAUSED, True),
        (Evidence(stop=stop("drain"), error=error("ValueError: no")), 1, Reason.DRAINED, True),
        (Evidence(result=STOPPED), 143, Reason.RANK_DIED, False),
        (Evidence(ranks=ranks(failed(1, 1, "OutOfMemoryError: CUDA out of memory"))), 1, Reason.OUT_OF_MEMORY, False),
        (Evidence(ranks=ranks(failed(1, 1, "torch.OutOfMemoryError: CUDA"))), 1, Reason.OUT_OF_MEMORY, False),
        (Evidence(ranks=ranks(failed(1, 1, "InvalidData: no labels"))), 1, Reason.INVALID_DATA, False),
        (Evidence(ranks=ranks(failed(1, 1, "LossNotFinite: step 3"))), 1, Reason.NUMERIC, False),
        (Evidence(ranks=ranks(failed(1, 1, "StorageFailed: disk"))), 1, Reason.STORAGE, False),
        (RAISED, 1, Reason.USER_ERROR, False),
        (Evidence(ranks=ranks(failed(1, 17))), 1, Reason.USER_ERROR, False),
        (Evidence(ranks=ranks(failed(1, -11))), 1, Reason.USER_ERROR, False),
        (Evidence(ranks=ranks(failed(1, -6))), 1, Reason.USER_ERROR, False),
        (Evidence(ranks=ranks(failed(1, -6)), log_tail="terminate called without an active exception"), 1, Reason.RANK_DIED, False),
        (Evidence(ranks=ranks(failed(1, -9))), 1, Reason.RANK_DIED, False),
        (Evidence(ranks=ranks(failed(1, -15))), 1, Reason.RANK_DIED, False),
        (Evidence(error=error("SignalException: Process 7 got signal: 15")), 143, Reason.RANK_DIED, False),
        (Evidence(error=error("DistNetworkError: address already in use")), 1, Reason.RANK_DIED, False),
        (Evidence(), 0, Reason.PROTOCOL, False),
        (Evidence(), 1, Reason.RANK_DIED, False),
        (Evidence(), -9, Reason.RANK_DIED, False),
        (Evidence(), None, Reason.RANK_DIED, False),
        (Evidence(ranks=ranks()), 1, Reason.RANK_DIED, False),
        (Evidence(error=error("ValueError: no"), broken=("ranks.json",)), 1, Reason.USER_ERROR, False),
    ],
)
def test_the_first_matching_row_decides(evidence: Evidence, returncode: int | None, reason: Reason, is_forced: bool) -> None:
    outcome = classify(evidence, returncode)
    assert (outcome.reason, outcome.forced) == (reason, is_forced)


IN_ORDER = RanksFile(failures=(), left_in_order=True)


@pytest.mark.parametrize(
    ("evidence", "returncode", "reason", "is_forced"),
    [
        (Evidence(stop=stop("pause"), ranks=IN_ORDER), 143, Reason.PAUSED, False),
        (Evidence(stop=stop("drain")), 0, Reason.DRAINED, False),  # it read the file before the signal came
        (Evidence(stop=stop("drain")), 143, Reason.DRAINED, True),
        (Evidence(stop=stop("pause"), ranks=ranks(failed(0, 1))), 1, Reason.PAUSED, True),
        (Evidence(ranks=IN_ORDER), 143, Reason.RANK_DIED, False),  # a signal from outside
        (Evidence(), 0, Reason.COMPLETED, False),
    ],
)
def test_a_program_without_a_result_stops_in_order_by_code_0(evidence: Evidence, returncode: int, reason: Reason, is_forced: bool) -> None:
    outcome = classify(evidence, returncode, owes_result=False)
    assert (outcome.reason, outcome.forced) == (reason, is_forced)


def test_a_rank_killed_for_memory_needs_the_kernels_word() -> None:
    evidence = Evidence(ranks=ranks(failed(1, -9)))
    assert classify(evidence, 1, num_oom_kills=1).reason is Reason.HOST_OUT_OF_MEMORY
    assert classify(RAISED, 1, num_oom_kills=1).reason is Reason.USER_ERROR


@pytest.mark.parametrize(
    ("failures", "culprit"),
    [
        ([failed(0, 1, "RuntimeError: Connection closed by peer", 5.0), failed(1, -9, at=5.1)], 1),
        ([failed(0, 1, "RuntimeError: Connection closed by peer", 5.0), failed(1, 17, at=5.1)], 1),
        ([failed(1, 1, "ValueError: no", 5.0), failed(0, 1, "RuntimeError: Connection closed by peer", 5.2)], 1),
        ([failed(0, -6, at=4.0), failed(1, 1, "ValueError: no", 5.0)], 1),
        ([failed(0, 1, "PeerLost: gone", 4.0), failed(1, -6, at=5.0)], 1),
        ([failed(0, -6, at=4.0), failed(1, -6, at=4.0)], 0),
    ],
)
def test_the_culprit_is_told_from_the_victims(failures: list[RankFailure], culprit: int) -> None:
    outcome = classify(Evidence(ranks=ranks(*failures)), 1)
    assert outcome.rank == culprit
    assert outcome.exit_code == next(failure.exit_code for failure in failures if failure.rank == culprit)


def test_an_outcome_carries_message_code_and_stack_of_the_rank() -> None:
    assert classify(RAISED, 1) == Outcome(
        reason=Reason.USER_ERROR, message="ValueError: no", rank=1, exit_code=1, stack="Traceback: ValueError: no"
    )
    assert classify(Evidence(ranks=ranks(failed(1, -11))), 1).message == "rank 1 was killed by SIGSEGV"
    assert classify(Evidence(ranks=ranks(failed(0, 17))), 1).message == "rank 0 exited with code 17"
    assert classify(Evidence(ranks=ranks(failed(0, -60))), 1).message == "rank 0 was killed by signal 60"


def write_rank(run_dir: RunDir, rank: int, *, message: str, log: bytes) -> None:
    folder = run_dir.logs / "att_1_abc" / "attempt_0" / str(rank)
    folder.mkdir(parents=True)
    (folder / "stderr.log").write_bytes(log)
    (folder / "error.json").write_text(error(message).model_dump_json(by_alias=True))


def test_evidence_is_that_of_the_culprit_and_not_of_torchruns_choice(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path)
    write_rank(run_dir, 0, message="RuntimeError: Connection closed by peer", log=b"victim\n")
    write_rank(run_dir, 1, message="ValueError: no", log=b"\xff last words\n" * 300)
    run_dir.error.write_text(error("RuntimeError: Connection closed by peer").model_dump_json(by_alias=True))
    run_dir.ranks.write_text(
        ranks(failed(1, 1, "ValueError: no", 1.0), failed(0, 1, "RuntimeError: Connection closed by peer", 2.0)).model_dump_json()
    )
    outcome = classify(read_evidence(run_dir), 1)
    assert (outcome.rank, outcome.stack) == (1, "Traceback: ValueError: no")
    assert outcome.log_tail is not None
    assert outcome.log_tail.splitlines() == ["\N{REPLACEMENT CHARACTER} last words"] * 100


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"failures": 3}', b"{" * 100_000])
@pytest.mark.parametrize("name", ["result", "stop", "ranks", "error"])
def test_a_torn_file_is_evidence_and_never_an_exception(tmp_path: Path, name: str, content: bytes) -> None:
    run_dir = RunDir.create(tmp_path)
    path: Path = getattr(run_dir, name)
    path.write_bytes(content)
    evidence = read_evidence(run_dir)
    # torchrun's file is no model of ours: an object without a message, an empty one, is one that says nothing.
    assert evidence.broken == (path.name,) or (name == "error" and content == b'{"failures": 3}')
    assert classify(evidence, 1).reason is Reason.RANK_DIED


def test_a_folder_where_a_file_should_be_is_torn_too(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path)
    run_dir.result.mkdir()
    outcome = classify(read_evidence(run_dir), 0)
    assert outcome.reason is Reason.PROTOCOL
    assert "result.json" in outcome.message


def test_an_error_file_may_hold_a_text_instead_of_an_exception(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path)
    run_dir.ranks.write_text(ranks(failed(0, 1, "SystemError: x")).model_dump_json())
    run_dir.error.write_text(json.dumps({"message": "Signal 11 (SIGSEGV) received by PID 5", "timestamp": 1}))
    assert read_evidence(run_dir).error == ErrorFile(message="Signal 11 (SIGSEGV) received by PID 5")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\noom_group_kill 0\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", 5),
        ("oom_kill_disable 0\nunder_oom 0\n", 0),
        ("", 0),
    ],
)
def test_the_kernels_count_of_kills_is_read_from_both_kinds_of_cgroup(text: str, count: int) -> None:
    assert num_oom_kills(text) == count

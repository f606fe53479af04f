"""The shipper against a real server: everything arrives once and in order, whatever happens on the way."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.run_dir import RunDir
from core.states import Phase
from core.wire.worker import StartRequest
from tests.bed.waiting import until
from tests.worker.leased import LeasedAttempt
from worker.log_streams import LogStreams
from worker.shipper import Shipper

START = StartRequest(launched="warm", pid=1)


class Ship:
    """A running shipper and what it has called back."""

    def __init__(self, attempt: LeasedAttempt) -> None:
        self.lost = threading.Event()
        self.failed = threading.Event()
        self.num_checkpoints_seen = 0
        self.shipper = Shipper(
            attempt.api,
            attempt.patience,
            run_dir=attempt.run_dir,
            logs=LogStreams(attempt.run_dir, 2),
            lose=lambda _: self._give_up(attempt),
            failed=self.failed.set,
            checkpoint_seen=self._see,
        )

    def _give_up(self, attempt: LeasedAttempt) -> None:
        self.lost.set()
        attempt.given_up.set()

    def _see(self) -> None:
        self.num_checkpoints_seen += 1


@contextmanager
def shipping(attempt: LeasedAttempt) -> Iterator[Ship]:
    ship = Ship(attempt)
    ship.shipper.start(START)
    try:
        yield ship
    finally:
        ship.shipper.close()


def log_file(run_dir: RunDir, rank: int, name: str) -> Path:
    path = run_dir.logs / "run" / "attempt_0" / str(rank) / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def loss_steps(attempt: LeasedAttempt) -> list[int]:
    series = attempt.get("metrics?name=loss&max_points=10000")["series"]
    return list(series[0]["steps"]) if series else []


def text_of(attempt: LeasedAttempt, rank: int, stream: str) -> str:
    return str(attempt.get(f"logs?rank={rank}&stream={stream}&limit=1000000")["text"])


def test_points_progress_and_output_arrive_while_the_run_lasts(attempt: LeasedAttempt) -> None:
    with shipping(attempt):
        attempt.write_metrics(range(1, 6))
        attempt.write_progress(step=5, total_steps=50)
        log_file(attempt.run_dir, 0, "stdout").write_text("hello\n")
        until(lambda: loss_steps(attempt) == [1, 2, 3, 4, 5], within=10, what="the points are there")
        until(lambda: text_of(attempt, 0, "stdout") == "hello\n", within=10, what="the output is there")
        job = attempt.admin.job(attempt.job_id)
        assert (job["phase"], job["progress"]["step"], job["progress"]["total_steps"]) == ("training", 5, 50)
        assert attempt.get("attempts")["data"][0]["launched"] == "warm"


def test_what_is_left_at_the_end_is_shipped_before_close_returns(attempt: LeasedAttempt) -> None:
    with shipping(attempt):
        attempt.write_metrics(range(1, 2501))
        log_file(attempt.run_dir, 1, "stderr").write_bytes(b"x" * 700_000 + b"torn")
    assert len(loss_steps(attempt)) == 2500
    assert attempt.get("logs?rank=1&stream=stderr")["streams"][0]["size"] == 700_004


def test_promise_16_an_outage_loses_nothing_and_doubles_nothing(attempt: LeasedAttempt) -> None:
    with shipping(attempt):
        attempt.write_metrics(range(1, 11))
        until(lambda: len(loss_steps(attempt)) == 10, within=10, what="the first points are there")
        out = log_file(attempt.run_dir, 0, "stdout")
        for number in range(3):
            attempt.proxy.cut()
            with attempt.proxy.under(drops=number == 0, refuses=number > 0):
                attempt.write_metrics(range(11 + 10 * number, 21 + 10 * number))
                with out.open("a") as file:
                    file.write(f"line {number}\n" * 1000)
        until(lambda: loss_steps(attempt) == list(range(1, 41)), within=40, what="all points, once")
        expected = "".join(f"line {number}\n" * 1000 for number in range(3))
        until(lambda: text_of(attempt, 0, "stdout") == expected, within=40, what="all output, once")


def test_an_answer_that_is_lost_does_not_double_a_point(attempt: LeasedAttempt) -> None:
    with shipping(attempt):
        attempt.write_metrics(range(1, 4))
        until(lambda: loss_steps(attempt) == [1, 2, 3], within=10, what="the points are there")
        # The batch reaches the server through the half-open connection only before the weather; its answer never returns.
        attempt.proxy.cut()
        attempt.write_metrics(range(4, 7))
        until(lambda: loss_steps(attempt) == list(range(1, 7)), within=20, what="all points")
    series = attempt.get("metrics?name=loss")["series"][0]
    assert series["num_points"] == 6


def test_a_batch_that_the_server_refuses_does_not_hold_up_the_next(attempt: LeasedAttempt) -> None:
    with shipping(attempt):
        with attempt.run_dir.metrics.open("a") as file:
            file.write('{"seq": 1, "step": 9007199254740992, "at": 1, "values": {"loss": 1}}\n')
        attempt.write_metrics(range(1, 4))
        until(lambda: 3 in loss_steps(attempt), within=10, what="later points arrive")


def test_a_phase_of_the_supervisors_own_is_reported(attempt: LeasedAttempt) -> None:
    with shipping(attempt) as ship:
        attempt.write_progress(step=7)
    ship.shipper.report_phase(Phase.UPLOADING)
    job = attempt.admin.job(attempt.job_id)
    assert (job["phase"], job["progress"]["step"]) == ("uploading", 7)


def test_a_new_checkpoint_is_told_to_whoever_uploads_it(attempt: LeasedAttempt) -> None:
    with shipping(attempt) as ship:
        attempt.write_progress(step=7, checkpoint_step=5)
        until(lambda: ship.num_checkpoints_seen == 1, within=10, what="told once")
        attempt.write_progress(step=8, checkpoint_step=5)
        until(lambda: attempt.admin.job(attempt.job_id)["progress"]["step"] == 8, within=10, what="shipped")
    assert ship.num_checkpoints_seen == 1


def test_promise_02_with_the_lease_gone_it_writes_nothing_more_and_says_so(short_lease: LeasedAttempt) -> None:
    with shipping(short_lease) as ship:
        short_lease.write_metrics(range(1, 4))
        until(lambda: len(loss_steps(short_lease)) == 3, within=10, what="the points are there")
        short_lease.let_lease_run_out()
        until(lambda: short_lease.get("attempts")["data"][0]["state"] == "lost", within=40, what="the attempt is lost")
        short_lease.write_metrics(range(4, 7))
        assert ship.lost.wait(10)
    assert loss_steps(short_lease) == [1, 2, 3]


def test_a_shipper_that_fails_wakes_its_supervisor(attempt: LeasedAttempt) -> None:
    ship = Ship(attempt)
    ship.shipper.start(START)
    # A folder where a file should be: nothing the shipper could do about, and nothing it may keep to itself.
    attempt.run_dir.metrics.mkdir()
    assert ship.failed.wait(10)

"""SIGTERM with a reason in ``stop.json``: the ranks agree, leave a checkpoint where one is wanted, and say that they stopped."""

import os
import signal
from typing import Any

import pytest

from core.manifest import verify
from core.states import Reason
from tests.trainer.launching import Launch

NEVER: dict[str, Any] = {"recipe": "scripted", "training": {"ending": "never", "step_seconds": 0.01}}


@pytest.mark.parametrize(
    ("word", "reason", "cold"),
    [("pause", Reason.PAUSED, False), ("drain", Reason.DRAINED, False), ("pause", Reason.PAUSED, True)],
    ids=["pause", "drain", "pause, cold"],
)
def test_a_pause_or_drain_leaves_a_verified_checkpoint_of_the_last_step(launch: Launch, word: Any, reason: Reason, cold: bool) -> None:
    attempt = launch(NEVER, cold=cold).start()
    attempt.wait_for_step(3)
    attempt.run_dir.ask_to_stop(word)
    attempt.terminate()
    attempt.wait()

    outcome = attempt.expect(reason)
    assert not outcome.forced
    result = attempt.result()
    assert result is not None
    assert result.outcome == "stopped"
    assert verify(attempt.run_dir.checkpoint(result.step)).meta["step"] == result.step
    assert not (attempt.run_dir.artifacts / "manifest.json").exists()
    assert attempt.code == 128 + signal.SIGTERM


def test_a_cancel_does_not_wait_for_a_checkpoint(launch: Launch) -> None:
    attempt = launch(NEVER).start()
    attempt.wait_for_step(3)
    attempt.run_dir.ask_to_stop("cancel")
    attempt.terminate()
    attempt.wait()

    assert not attempt.expect(Reason.CANCELLED).forced
    assert attempt.run_dir.complete_checkpoints() == []


def test_a_signal_that_reaches_one_rank_alone_stops_all_of_them(launch: Launch) -> None:
    """Nobody checkpoints alone: the flag travels with the step's all-reduce."""
    attempt = launch(NEVER).start()
    attempt.wait_for_step(3)
    attempt.run_dir.ask_to_stop("drain")
    os.kill(attempt.rank_pids()[1], signal.SIGTERM)
    attempt.wait()

    assert not attempt.expect(Reason.DRAINED).forced
    assert len(attempt.run_dir.complete_checkpoints()) == 1


def test_a_rank_that_ignores_the_signal_is_killed_by_torchrun(launch: Launch) -> None:
    attempt = launch({"recipe": "scripted", "training": {"ending": "never", "step_seconds": 0.01, "ignore_sigterm": True}}).start()
    attempt.wait_for_step(1)
    attempt.run_dir.ask_to_stop("cancel")
    attempt.terminate()
    attempt.wait()

    assert attempt.expect(Reason.CANCELLED).forced
    assert attempt.result() is None


def test_a_signal_without_a_reason_leaves_a_checkpoint(launch: Launch) -> None:
    attempt = launch(NEVER).start()
    attempt.wait_for_step(3)
    attempt.terminate()
    attempt.wait()

    result = attempt.result()
    assert result is not None
    assert result.outcome == "stopped"
    verify(attempt.run_dir.checkpoint(result.step))

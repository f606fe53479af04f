"""A resumed run ends with the weights of a run that nothing happened to, bit for bit."""

from pathlib import Path
from typing import Any, Literal

import pytest

from core.states import Reason
from tests.trainer.launching import Attempt, Launch

# Dropout draws from each rank's own generator and batch norm keeps each rank's own statistics: both must survive.
DIGITS: dict[str, Any] = {
    "recipe": "image-classification",
    "dataset": {"builtin": "digits"},
    "model": {"depth": 8, "width": 4, "dropout": 0.2},
    "training": {"epochs": 2, "batch_size": 64, "learning_rate": 0.05},
    "checkpoints": {"every_steps": 7},
    "deterministic": True,
    "seed": 3,
}
THREE_RANKS: dict[str, Any] = {
    **DIGITS,
    "training": {"epochs": 1, "batch_size": 63, "learning_rate": 0.05},
    "checkpoints": {"every_steps": 4},
}


@pytest.fixture(scope="module")
def straight_weights(tmp_path_factory: pytest.TempPathFactory, warm_parent: Any, digits_dir: Path) -> str:
    launch = Launch(root=tmp_path_factory.mktemp("straight"), parent=warm_parent, data_dir=digits_dir)
    return launch(DIGITS).run().weights()


def test_promise_08_a_cold_launch_gives_the_weights_of_a_warm_one(launch: Launch, straight_weights: str) -> None:
    assert launch(DIGITS, cold=True).run().weights() == straight_weights


def test_promise_08_where_checkpoints_fall_does_not_change_the_weights(launch: Launch, straight_weights: str) -> None:
    """By the clock: in the middle of an epoch, at another step in every run."""
    assert launch({**DIGITS, "checkpoints": {"every_seconds": 0.1}}).run().weights() == straight_weights


@pytest.mark.parametrize("step", [2, 20, 33], ids=["in the first epoch", "at its end", "in the second"])
def test_promise_08_pause_and_resume_give_the_same_weights(launch: Launch, straight_weights: str, step: int) -> None:
    first = launch(DIGITS).start()
    first.wait_for_step(step)
    first.run_dir.ask_to_stop("pause")
    first.terminate()
    first.wait().expect(Reason.PAUSED)

    second = launch(DIGITS, number=2, resume_from=newest(first)).run()

    assert second.weights() == straight_weights
    result = first.result()
    assert result is not None
    assert second.metrics()[0].step > result.step, "the second attempt did some steps again"
    assert second.metrics()[0].seq == first.metrics()[-1].seq + 1


@pytest.mark.parametrize("victim", ["agent", "rank"])
def test_promise_08_a_kill_and_a_resume_give_the_same_weights(
    launch: Launch, straight_weights: str, victim: Literal["agent", "rank"]
) -> None:
    assert launch.killed_and_resumed(DIGITS, after=9, victim=victim).weights() == straight_weights


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_promise_08_holds_for_three_ranks_where_the_order_of_additions_matters(launch: Launch, strategy: str) -> None:
    """With averaged weights, which a checkpoint holds too, and which are the best ones that are packaged."""
    spec = {**THREE_RANKS, "training": {**THREE_RANKS["training"], "strategy": strategy, "ema": 0.9}}
    second = launch.killed_and_resumed(spec, after=9, num_ranks=3)
    assert second.weights() == launch(spec, num_ranks=3).run().weights()


def test_another_seed_gives_other_weights(launch: Launch, straight_weights: str) -> None:
    assert launch({**DIGITS, "seed": 4}).run().weights() != straight_weights


def test_a_run_that_had_finished_training_goes_straight_to_its_package(launch: Launch, straight_weights: str) -> None:
    first = launch(DIGITS).run()

    second = launch(DIGITS, number=2, resume_from=newest(first)).run()

    assert second.weights() == straight_weights
    assert second.series("loss") == []


def test_promise_11_a_damaged_checkpoint_is_refused(launch: Launch) -> None:
    first = launch({"recipe": "scripted", "training": {"steps": 4}}).run()
    damaged = newest(first)
    weights = sorted((damaged / "tensors").iterdir())[1]
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    second = launch({"recipe": "scripted", "training": {"steps": 8}}, number=2, resume_from=damaged).run()

    outcome = second.expect(Reason.STORAGE)
    assert f"tensors/{weights.name} does not have the SHA-256" in outcome.message


def test_promise_10_a_checkpoint_that_is_being_written_is_invisible(launch: Launch) -> None:
    """Killed at any moment, no folder is left that has its final name and is not whole."""
    spec = {"recipe": "scripted", "training": {"ending": "never"}, "checkpoints": {"every_steps": 1}}
    for _ in range(3):
        attempt = launch(spec).start()
        attempt.wait_for(attempt.run_dir.complete_checkpoints, "a checkpoint")
        attempt.kill_everything()
        attempt.wait()

        named = [path for path in attempt.run_dir.checkpoints.iterdir() if path.name.startswith("step-")]
        assert sorted(named, reverse=True) == attempt.run_dir.complete_checkpoints()
        newest_verified, findings = attempt.run_dir.newest_verified_checkpoint()
        assert newest_verified is not None
        assert findings == []


def test_the_newest_two_checkpoints_are_kept_and_their_numbers_told(launch: Launch) -> None:
    attempt = launch({"recipe": "scripted", "training": {"steps": 10}, "checkpoints": {"every_steps": 3}}).run()

    assert [path.name for path in attempt.run_dir.complete_checkpoints()] == ["step-000000000010", "step-000000000009"]
    assert attempt.progress().checkpoint_step == 10


def test_a_disk_that_refuses_a_checkpoint_is_a_storage_failure_and_leaves_the_older_one(launch: Launch) -> None:
    attempt = launch({"recipe": "scripted", "training": {"steps": 4000, "step_seconds": 0.005}, "checkpoints": {"every_steps": 5}})
    attempt.start()
    attempt.wait_for(attempt.run_dir.complete_checkpoints, "a checkpoint")
    taken = attempt.run_dir.checkpoint(attempt.metrics()[-1].step // 5 * 5 + 100)
    taken.with_name(f".tmp-{taken.name}-1").write_text("in the way")
    attempt.wait()

    outcome = attempt.expect(Reason.STORAGE)
    assert "a checkpoint could not be" in outcome.message
    assert attempt.run_dir.newest_verified_checkpoint()[0] is not None


def newest(attempt: Attempt) -> Path:
    folder, findings = attempt.run_dir.newest_verified_checkpoint()
    assert folder is not None, attempt.logs()
    assert findings == []
    return folder

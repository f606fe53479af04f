"""Every ending of the scripted recipe leaves the files that the run directory's protocol promises, warm and cold."""

import signal
from typing import Any

import numpy as np
import pytest

from core.states import Phase, Reason
from tests.trainer.launching import Launch


def scripted(**training: Any) -> dict[str, Any]:
    return {"recipe": "scripted", "training": {"steps": 6, "at_step": 3, **training}}


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
def test_a_run_that_ends_well_leaves_a_result_a_package_and_no_error(launch: Launch, cold: bool) -> None:
    attempt = launch(scripted(), cold=cold).run()

    attempt.expect(Reason.COMPLETED)
    assert attempt.code == 0, attempt.logs()
    assert {path.name for path in attempt.run_dir.artifacts.iterdir()} == {
        "config.json",
        "manifest.json",
        "metrics.json",
        "model.safetensors",
    }
    assert not attempt.run_dir.error.exists()
    assert attempt.progress().phase is Phase.PACKAGING
    assert [line.step for line in attempt.metrics() if "loss" in line.values] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("ending", "reason", "says"),
    [
        ("raise", Reason.USER_ERROR, "RuntimeError: failed at step 3 on rank 1"),
        ("out_of_memory", Reason.OUT_OF_MEMORY, "OutOfMemoryError: "),
        ("nan", Reason.NUMERIC, "LossNotFinite: the loss or its gradient was NaN or infinite at step 3"),
        ("invalid_data", Reason.INVALID_DATA, "InvalidData: invalid data at step 3"),
        ("exit", Reason.USER_ERROR, "exited with code 17"),
        ("kill", Reason.RANK_DIED, "killed by SIGKILL"),
        ("segfault", Reason.USER_ERROR, "killed by SIGSEGV"),
    ],
)
def test_an_ending_is_told_apart_by_what_it_leaves(launch: Launch, ending: str, reason: Reason, says: str) -> None:
    attempt = launch(scripted(ending=ending, rank=1)).run()

    outcome = attempt.expect(reason)
    assert says in outcome.message
    assert ending == "nan" or outcome.rank == 1
    assert attempt.result() is None


@pytest.mark.parametrize("ending", ["raise", "kill"])
def test_the_same_holds_for_ranks_that_are_programs_of_their_own(launch: Launch, ending: str) -> None:
    attempt = launch(scripted(ending=ending, rank=1), cold=True).run()

    outcome = attempt.expect(Reason.USER_ERROR if ending == "raise" else Reason.RANK_DIED)
    assert outcome.rank == 1


def test_a_loss_that_is_not_finite_ends_every_rank_before_the_step_can_be_saved(launch: Launch) -> None:
    attempt = launch({**scripted(ending="nan"), "checkpoints": {"every_steps": 1}}).run()

    assert [path.name for path in attempt.run_dir.complete_checkpoints()] == ["step-000000000002", "step-000000000001"]
    assert attempt.series("loss")[-1] < 10


def test_a_run_without_a_result_exits_with_0(launch: Launch) -> None:
    attempt = launch(scripted(ending="no_result")).run()

    attempt.expect(Reason.PROTOCOL)
    assert attempt.code == 0


def test_a_script_misbehaves_in_the_attempts_it_names_only(launch: Launch) -> None:
    spec = scripted(ending="raise", only_attempts=[1])

    launch(spec).run().expect(Reason.USER_ERROR)
    launch(spec, number=2).run().expect(Reason.COMPLETED)


def test_a_hung_rank_stops_the_progress_of_all_until_it_is_killed(launch: Launch) -> None:
    attempt = launch(scripted(ending="hang")).start()
    attempt.wait_for_step(2)
    attempt.kill_everything()
    attempt.wait()

    assert attempt.code == -signal.SIGKILL
    assert attempt.metrics()[-1].step == 2
    assert attempt.result() is None


def test_lines_that_ranks_print_are_in_their_logs(launch: Launch) -> None:
    attempt = launch(scripted(log_lines=2)).run()

    for rank in (0, 1):
        (log,) = attempt.run_dir.logs.glob(f"*/attempt_0/{rank}/stdout.log")
        printed = [line for line in log.read_text().splitlines() if line.startswith("step ")]
        assert printed == [f"step {step} rank {rank} line {number}" for step in range(1, 7) for number in (0, 1)]


def test_a_broken_spec_is_named_as_the_cause(launch: Launch) -> None:
    attempt = launch(scripted())
    attempt.run_dir.spec.write_text(attempt.run_dir.spec.read_text().replace('"attempt":1', '"attempt":"one"'))

    outcome = attempt.run().expect(Reason.PROTOCOL)
    assert "BadRunFile" in outcome.message
    assert "attempt" in outcome.message


def test_data_that_cannot_be_used_is_named_as_the_cause(launch: Launch) -> None:
    launch.data_dir = launch.root / "nothing"
    spec = {"recipe": "image-classification", "dataset": {"path": "/nowhere"}}
    assert "nothing does not exist" in launch(spec).run().expect(Reason.INVALID_DATA).message

    launch.data_dir.mkdir()
    np.save(launch.data_dir / "images.npy", np.zeros((4, 8, 8), dtype=np.uint8))
    message = launch(spec).run().expect(Reason.INVALID_DATA).message
    assert all(f"{name} is missing" in message for name in ("labels.npy", "classes.json"))

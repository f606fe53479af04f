"""transformers' Trainer: through its MLflow callback, and through the status hook that it brings along by itself."""

from pathlib import Path

from core.run_dir import ProgressFile, read_model
from tests.tracking.serving import Attempt


def _train(attempt: Attempt, tmp_path: Path, report_to: str, seconds: str) -> ProgressFile:
    ended = attempt.run("train_with_transformers", report_to, seconds, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-4000:]
    attempt.process.stop()
    progress = read_model(attempt.folder.progress, ProgressFile)
    assert progress is not None
    return progress


def test_a_trainer_that_reports_to_mlflow(attempt: Attempt, tmp_path: Path) -> None:
    progress = _train(attempt, tmp_path, "mlflow", "0")
    assert (progress.step, progress.total_steps) == (6, 6)
    assert [step for step, _ in attempt.series("loss")] == [2, 4, 6], "and the status hook did not tell them again"
    files = attempt.files()
    assert files["params"]["values"]["hidden_size"] == "8"
    assert files["params"]["values"]["max_steps"] == "6"
    assert [run["status"] for run in files["runs"]["runs"]] == ["FINISHED"]


def test_a_trainer_that_reports_to_nobody_still_tells_its_progress(attempt: Attempt, tmp_path: Path) -> None:
    progress = _train(attempt, tmp_path, "none", "0")
    assert (progress.step, progress.total_steps, progress.epoch) == (6, 6, 1)
    assert len(attempt.series("loss")) == 3
    assert attempt.series("train_runtime")[0][0] == 6


def test_the_reports_of_a_training_shorter_than_the_hooks_interval(attempt: Attempt) -> None:
    """Only the first and the last are sent: how many steps there are, and that all is done."""
    first = {"lastUpdatedTime": "2026-01-01T00:00:00+00:00", "progressPercentage": 0, "metrics": [{"name": "total_steps", "value": "6"}]}
    last = {"progressPercentage": 100, "estimatedRemainingSeconds": 0, "metrics": [{"name": "train_loss", "value": "0.5"}]}
    for status in (first, last):
        assert attempt.ask("POST", "/kubeflow/status", {"trainerStatus": status}) == (200, {})
    attempt.process.stop()
    progress = read_model(attempt.folder.progress, ProgressFile)
    assert progress is not None
    assert (progress.step, progress.total_steps) == (6, 6)
    assert attempt.series("train_loss") == [(6, 0.5)]


def test_a_report_with_a_percentage_alone_counts_in_hundredths(attempt: Attempt) -> None:
    for percentage in (10, 40, 30):
        assert attempt.ask("POST", "/kubeflow/status", {"trainerStatus": {"progressPercentage": percentage}}) == (200, {})
    attempt.process.stop()
    progress = read_model(attempt.folder.progress, ProgressFile)
    assert progress is not None
    assert (progress.step, progress.total_steps) == (40, 100), "and does not fall"


def test_values_that_were_not_logged_anew_are_not_told_again(attempt: Attempt) -> None:
    for step, loss in ((5, "0.5"), (10, "0.5"), (15, "0.25")):
        metrics = [{"name": "loss", "value": loss}, {"name": "current_step", "value": str(step)}, {"name": "total_steps", "value": "20"}]
        attempt.ask("POST", "/kubeflow/status", {"trainerStatus": {"progressPercentage": step * 5, "metrics": metrics}})
    attempt.process.stop()
    assert attempt.series("loss") == [(5, 0.5), (15, 0.25)]


def test_what_mlflow_tells_after_the_hook_is_told_once(attempt: Attempt) -> None:
    """Its client sends from a thread of its own, which may come late."""
    metrics = [{"name": "loss", "value": "0.5"}, {"name": "epoch", "value": "1"}]
    attempt.ask("POST", "/kubeflow/status", {"trainerStatus": {"progressPercentage": 5, "metrics": metrics}})
    assert attempt.log_metric("loss", 0.5, step=2)[0] == 200
    attempt.process.stop()
    assert attempt.series("loss") == [(2, 0.5)]
    assert attempt.series("epoch") == [(5, 1.0)]

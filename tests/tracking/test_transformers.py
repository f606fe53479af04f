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


def test_a_trainer_shorter_than_the_hooks_interval(attempt: Attempt, tmp_path: Path) -> None:
    progress = _train(attempt, tmp_path, "none", "3600")
    assert (progress.step, progress.total_steps) == (6, 6), "from its first and last report: how many, and all of them"
    assert attempt.series("train_loss")[0][0] == 6

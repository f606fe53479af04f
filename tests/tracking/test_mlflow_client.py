"""The real ``mlflow`` client, in scripts that know nothing of us."""

from pathlib import Path

from core.run_dir import ProgressFile, RunDir, read_model
from tests.tracking.serving import RUN_ID, Attempt
from worker.metric_reader import MetricReader


def test_a_script_gets_back_what_it_told_and_leaves_it_in_files(attempt: Attempt, tmp_path: Path) -> None:
    told = attempt.told_by("log_everything", cwd=tmp_path)
    attempt.process.stop()

    assert (told["run_id"], told["experiment"], told["status"]) == (RUN_ID, "1", "FINISHED")
    assert (told["params"]["lr"], told["params"]["batch_size"], told["num_params"]) == ("0.2", "32", 104)
    assert told["tags"] == {"team": "blue", "kind": "baseline"}
    assert told["metrics"]["loss"] == "0.2"
    assert told["metrics"]["broken"] == "inf"
    assert told["metrics"]["later"] == "1.0", "a batch that comes late does not replace a later step"
    assert told["history"] == [[step, 1.0 / (step + 1)] for step in range(5)]
    assert told["num_batch"] == 1000
    assert told["artifacts"] == ["config.json", "folder", "texts"]
    assert told["texts"] == ["texts/a name with spaces é.txt", "texts/hello.txt"]
    assert (told["listed_file"], told["hello"], told["spaces"]) == ([], "hello", "spaces")
    assert (told["same_bytes"], told["empty"]) == (True, 0)
    assert told["found"] == RUN_ID
    assert told["children"] == [["fold 1", 9.0, "7"]]
    assert told["child_artifacts"] == ["notes.txt"]

    _files_hold_it(attempt)


def _files_hold_it(attempt: Attempt) -> None:
    files = attempt.files()
    assert files["params"]["values"]["lr"] == "0.2"
    assert files["params"]["replaced"]["lr"] == ["0.1"]
    assert files["params"]["values"]["fold-1/lr"] == "7"
    assert files["tags"]["values"]["kind"] == "baseline"
    assert "gone" not in files["tags"]["values"]
    runs = files["runs"]["runs"]
    assert [(run["name"], run["prefix"], run["status"]) for run in runs] == [
        ("first try", "", "FINISHED"),
        ("fold 1", "fold-1/", "FINISHED"),
    ]
    assert attempt.series("loss") == [(step, 1.0 / (step + 1)) for step in range(5)]
    assert attempt.series("batch") == [(step, float(step)) for step in range(1000)]
    assert attempt.series("fold-1/loss") == [(0, 9.0)]
    assert [line.seq for line in attempt.lines()] == list(range(len(attempt.lines())))
    artifacts = attempt.folder.artifacts
    assert (artifacts / "texts" / "hello.txt").read_text() == "hello"
    assert (artifacts / "folder" / "deep" / "empty.txt").read_bytes() == b""
    assert (artifacts / "runs" / runs[1]["run_id"] / "notes.txt").read_text() == "of the child"
    assert list(attempt.folder.incoming.iterdir()) == []
    progress = read_model(attempt.folder.progress, ProgressFile)
    assert progress is not None
    assert progress.step == 999


def test_the_reader_of_a_run_directory_takes_every_point(attempt: Attempt) -> None:
    for step, value in ((1, 0.5), (2, "NaN"), (3, "Infinity"), (4, "-Infinity"), (5, 0.25)):
        assert attempt.log_metric("loss", value, step)[0] == 200
    reader = MetricReader(RunDir(attempt.folder.root))
    batch = reader.next_batch()
    assert batch is not None
    assert batch.series["loss"].steps == [1, 2, 3, 4, 5]
    assert batch.series["loss"].values == [0.5, None, None, None, 0.25]
    assert reader.num_unreadable == 0


def test_an_exception_inside_the_run_is_noted_and_stays_the_scripts(attempt: Attempt, tmp_path: Path) -> None:
    ended = attempt.run("fail_inside", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1] == "ZeroDivisionError: the loss is gone"
    attempt.process.stop()
    assert [run["status"] for run in attempt.files()["runs"]["runs"]] == ["FAILED"]
    assert attempt.series("loss") == [(1, 1.0)]


def test_a_model_is_logged_found_and_loaded(attempt: Attempt, tmp_path: Path) -> None:
    told = attempt.told_by("log_a_model", cwd=tmp_path)
    assert (told["status"], told["params"], told["stage"], told["found"]) == ("READY", {"seed": "7"}, "second", ["doubling"])
    assert told["answers"] == [2, 2]
    assert told["source"] == RUN_ID
    files = {path.name for path in (attempt.folder.artifacts / "models" / told["model_id"]).iterdir()}
    assert {"MLmodel", "factor.json"} <= files

"""What becomes of what was told: names, repetitions, bounds, and files that a kill or a full disk has cut."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.manifest import check_relative_path
from tests.tracking.serving import RUN_ID
from worker.metric_reader import NAME
from worker.tracking import tracker as bounds
from worker.tracking.answers import TooLarge
from worker.tracking.folder import TrackingFolder
from worker.tracking.lines import GrowingFile, read_lines
from worker.tracking.points import Point, Points
from worker.tracking.search import search
from worker.tracking.tracker import Metric, Tracker


@pytest.fixture
def folder(tmp_path: Path) -> TrackingFolder:
    return TrackingFolder(tmp_path)


@pytest.fixture
def tracker(folder: TrackingFolder) -> Iterator[Tracker]:
    found = Tracker(folder, run_id=RUN_ID, experiment="digits")
    yield found
    found.close()


def names_in(folder: TrackingFolder) -> list[str]:
    return [name for line in read_lines(folder.metrics) for name in json.loads(line)["values"]]


def test_a_point_that_is_told_again_is_one_point(folder: TrackingFolder) -> None:
    points = Points(folder)
    told = [Point("loss", 1, 1000, 0.5), Point("loss", 1, 1000, 0.5), Point("loss", 1, 1001, 0.5), Point("nan", 1, 1000, float("nan"))]
    assert points.add(told) == 3
    assert points.add(told) == 0
    assert Points(folder).add(told) == 0, "a server that was started again remembers"
    assert points.add([Point("loss", 1, 1000, 0.75)]) == 1, "another value is another point, as MLflow has it"
    assert [point.value for point in points.of("loss")] == [0.5, 0.5, 0.75]


def test_nested_runs_of_one_name_have_prefixes_of_their_own(tracker: Tracker) -> None:
    prefixes = [tracker.create_run(name, "", 0, {}).prefix for name in ("fold", "fold", "../ä b", "")]
    assert prefixes == ["fold/", "fold-2/", "..-b/", "run-4/"]


def test_series_of_two_runs_never_share_a_name(tracker: Tracker, folder: TrackingFolder) -> None:
    child = tracker.create_run("fold", "", 0, {})
    tracker.log(RUN_ID, [Metric("fold/loss", 1.0, 0, 0)])
    tracker.log(child.run_id, [Metric("loss", 2.0, 0, 0)])
    tracker.log(RUN_ID, [Metric("long" * 60 + end, 3.0, 0, 0) for end in ("a", "b")])
    names = names_in(folder)
    assert len(set(names)) == 4
    assert all(NAME.fullmatch(name) for name in names), "as the reader of a run directory's metrics demands"
    assert [point.value for point in tracker.points.of(child.series["loss"])] == [2.0]


def test_names_of_runs_make_no_paths(tracker: Tracker) -> None:
    run = tracker.create_run("../../etc/passwd", "", 0, {})
    check_relative_path(f"runs/{run.run_id}/file")


def test_steps_out_of_range_are_bent_into_it(tracker: Tracker, folder: TrackingFolder) -> None:
    tracker.log(RUN_ID, [Metric("a", 1.0, 1, -5), Metric("b", 1.0, 2, 2**60)])
    assert [json.loads(line)["step"] for line in read_lines(folder.metrics)] == [0, 2**53]


def test_replaced_values_are_kept_up_to_a_number(tracker: Tracker) -> None:
    for value in range(30):
        tracker.log(RUN_ID, params={"lr": str(value)})
    tracker.log(RUN_ID, params={"lr": "29"})
    run = tracker.run(RUN_ID)
    assert (run.params["lr"], run.replaced["lr"]) == ("29", [str(value) for value in range(13, 29)])


def test_texts_are_counted_as_they_are_kept(tracker: Tracker) -> None:
    for number in range(40):
        tracker.log(RUN_ID, params={"key": "v" * 10 + str(number % 10)}, tags={"tag": "t" * (number + 1)})
    assert tracker.runs.num_texts == 2
    assert tracker.runs.text_bytes == len("key") + 17 * 11 + len("tag") + 40


def test_there_is_an_end_to_runs_series_and_texts(tracker: Tracker, folder: TrackingFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_RUNS", "MAX_SERIES", "MAX_TEXTS"):
        monkeypatch.setattr(bounds, name, 2)
    tracker.log(RUN_ID, [Metric(key, 1.0, 0, 0) for key in "abc"])
    assert names_in(folder) == ["a", "b"]
    tracker.log(RUN_ID, params={"a": "1", "b": "1"})
    tracker.log(RUN_ID, tags={"c": "1"})
    tracker.log(RUN_ID, params={"a": "2"}, tags={"d": "1"})
    assert (tracker.run(RUN_ID).params, tracker.run(RUN_ID).tags) == ({"a": "2", "b": "1"}, {}), "left out, and nobody fails"
    tracker.create_run("fold", "", 0, {})
    with pytest.raises(TooLarge):
        tracker.create_run("fold", "", 0, {})


@pytest.mark.parametrize("rest", [b"", b"half a li", b"x" * 3_000_000])
def test_a_half_line_is_cut_off_before_more_is_written(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n" + rest)
    assert list(read_lines(path)) == [b"one\n", b"two\n"]
    file = GrowingFile(path, max_bytes=100)
    file.add(b"three")
    file.close()
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_file_that_is_full_loses_lines_and_says_so_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = GrowingFile(tmp_path / "lines", max_bytes=10)
    for line in (b"1234", b"123456", b"12", b"x"):
        file.add(line)
    file.close()
    assert (tmp_path / "lines").read_bytes() == b"1234\n12\nx\n"
    assert file.num_lost == 1
    assert capfd.readouterr().err.count("cannot write lines") == 1


def test_a_full_disk_fails_nobody_and_whole_lines_follow_later(capfd: pytest.CaptureFixture[str]) -> None:
    """``/dev/full`` answers every write as a full disk does."""
    file = GrowingFile(Path("/dev/full"), max_bytes=100)
    file.add(b"1")
    file.add(b"2")
    file.close()
    assert file.num_lost == 2
    assert capfd.readouterr().err.count("No space left") == 1


def test_a_journal_with_nonsense_in_it_keeps_the_rest(folder: TrackingFolder) -> None:
    first = Tracker(folder, run_id=RUN_ID, experiment="digits")
    first.log(RUN_ID, params={"lr": "0.1"})
    first.close()
    with folder.journal.open("ab") as file:
        file.write(b'nonsense\n[]\n{"op": "wish", "run_id": "job_0001"}\n{"op": "params", "run_id": "nobody", "items": {}}\n')
        file.write(b'{"op": "params", "run_id": "job_0001", "items": {"seed": "7"}}\n')
    second = Tracker(folder, run_id=RUN_ID, experiment="digits")
    second.close()
    assert second.run(RUN_ID).params == {"lr": "0.1", "seed": "7"}


@pytest.mark.parametrize(
    ("condition", "order", "found"),
    [
        ("", [], ["c", "b", "a"]),
        ("", ["metrics.loss ASC"], ["b", "a", "c"]),
        ("", ["metrics.loss DESC"], ["a", "b", "c"]),
        ("", ["start_time"], ["a", "b", "c"]),
        ("metrics.loss < 0.3", [], ["b"]),
        ("metrics.`loss` >= 0.25 AND params.lr = '0.1'", [], ["a"]),
        ('params.lr != \'0.1\' and tags."team" = "blue"', [], ["c", "b"]),
        ("attributes.run_name LIKE 'a%'", [], ["a"]),
        ("run_name ILIKE 'B'", [], ["b"]),
        ("status = 'RUNNING' AND start_time > 1", [], ["c", "b"]),
        ("tags.absent != 'x'", [], []),
        ("params.lr = 0.1", [], ["a"]),
    ],
)
def test_runs_are_found_as_mlflow_finds_them(tracker: Tracker, condition: str, order: list[str], found: list[str]) -> None:
    runs = [tracker.create_run(name, "", number + 1, {"team": "blue"}) for number, name in enumerate("abc")]
    for run, lr in zip(runs, ("0.1", "0.2", "0.3"), strict=True):
        tracker.log(run.run_id, params={"lr": lr})
    newest = {runs[0].run_id: {"loss": 0.5}, runs[1].run_id: {"loss": 0.25}, runs[2].run_id: {}}
    assert [run.name for run in search(runs, condition, order, lambda run: newest[run.run_id])] == found

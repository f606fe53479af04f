"""dataset-preparation: whole datasets in, whole datasets out, the same bytes each time, and nothing at all when a step cannot be done."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.manifest import verify
from core.preparation import PREPARATION, Preparation
from core.recipes.dataset_validation import Data as ValidationData
from core.states import Reason
from tests.trainer.launching import Launch
from tests.trainer.made_up_files import recordings, reviews, write_csv, write_json_lines, write_parquet
from tests.trainer.preparing import Steps, files_of, prepared, refusal
from trainer.profile.profiling import profile_dataset

TABLE = [["id", "größe", "colour"], *([f"{n:03}", "" if n % 10 == 3 else str(n), ("red", "blue", "")[n % 3]] for n in range(30))]


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_a_table_goes_through_many_steps_and_untouched_cells_keep_their_spelling(tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "source.csv", [*TABLE, TABLE[1]])
    steps: Steps = [
        {"do": "drop_duplicates"},
        {"do": "impute", "columns": ["größe"], "by": "median"},
        {"do": "impute", "columns": ["colour"], "by": "constant", "value": "grün"},
        {"do": "split", "by": "stratified", "column": "colour", "test": 0.2, "validation": 0.1},
        {"do": "normalise", "columns": ["größe"], "by": "minmax"},
        {"do": "map_columns", "rename": {"colour": "label"}},
    ]
    done = prepared(tmp_path / "in", tmp_path / "out", steps)
    assert (done.format, done.rows_in, done.rows_out) == ("csv", 31, 30)
    assert done.splits == {"train": 21, "validation": 3, "test": 6}
    assert [(step.do, step.rows_in, step.rows_out, step.num_changed) for step in done.steps[:3]] == [
        ("drop_duplicates", 31, 30, 1),
        ("impute", 30, 30, 3),
        ("impute", 30, 30, 10),
    ]
    assert sorted(files_of(tmp_path / "out" / "data")) == ["test.csv", "train.csv", "validation.csv"]
    header, *train = read_csv(tmp_path / "out" / "data" / "train.csv")
    assert header == ["id", "größe", "label"]
    assert all(row[0] == f"{int(row[0]):03}" for row in train)
    scaled = [float(row[1]) for row in train]
    assert (min(scaled), max(scaled)) == (0, 1)
    found = profile_dataset(tmp_path / "out" / "data", ValidationData(), lambda now, total: None)
    assert (found.valid, found.splits) == (True, done.splits)


FORMATS = ("a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet")


def put(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        write_parquet(path, {name: [record[name] for record in records] for name in records[0]})
    elif path.suffix == ".jsonl":
        write_json_lines(path, records)
    elif path.suffix == ".json":
        path.write_text(json.dumps(records))
    else:
        write_csv(
            path, [list(records[0]), *(list(record.values()) for record in records)], delimiter="\t" if path.suffix == ".tsv" else ","
        )


EVERYTHING: Steps = [
    {"do": "drop_duplicates", "columns": ["text"]},
    {"do": "drop_missing"},
    {"do": "split", "by": "stratified", "column": "label", "test": 0.2},
    {"do": "sample", "fraction": 0.9, "stratified_by": "label"},
    {"do": "balance", "label": "label", "how": "over"},
    {"do": "augment", "text": {"column": "text", "dropout": 0.2, "swap": 0.2}, "copies": 2},
]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_steps_and_seed_give_the_same_bytes_in_every_format(tmp_path: Path, name: str) -> None:
    put(tmp_path / "in" / name, reviews(60))
    results = [prepared(tmp_path / "in", tmp_path / f"out{number}", EVERYTHING, seed=seed) for number, seed in enumerate((5, 5, 6))]
    written = [files_of(tmp_path / f"out{number}" / "data") for number in range(3)]
    assert written[0] == written[1]
    assert results[0] == results[1]
    assert written[0] != written[2]
    assert sorted(written[0]) == [f"{split}{Path(name).suffix}" for split in ("test", "train", "validation")]
    found = profile_dataset(tmp_path / "out0" / "data", ValidationData(), lambda done, total: None)
    assert (found.valid, found.task, found.splits) == (True, "text-classification", results[0].splits)
    assert found.labels is not None
    counts = found.labels.counts["train"]
    assert counts["good"] == counts["bad"]


def test_a_seed_of_its_own_makes_a_step_independent_of_the_others(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "in" / "a.jsonl", reviews(40))
    own = {"do": "sample", "rows": 10, "seed": 3}
    prepared(tmp_path / "in", tmp_path / "first", [own], seed=1)
    prepared(tmp_path / "in", tmp_path / "second", [{"do": "drop_missing"}, own], seed=2)
    assert files_of(tmp_path / "first" / "data") == files_of(tmp_path / "second" / "data")


def test_given_splits_are_kept_and_types_of_parquet_too(tmp_path: Path) -> None:
    write_parquet(tmp_path / "in" / "train.parquet", {"n": [1, 2, None], "image": [b"\0", b"\1", b"\2"]})
    write_parquet(tmp_path / "in" / "test.parquet", {"n": [9], "image": [b"\3"]})
    done = prepared(tmp_path / "in", tmp_path / "out", [{"do": "impute", "columns": ["n"], "by": "mode"}])
    assert done.splits == {"train": 3, "test": 1}
    table = pq.read_table(tmp_path / "out" / "data" / "train.parquet")
    assert str(table.schema.field("n").type) == "int64"
    assert table.to_pydict() == {"n": [1, 2, 1], "image": [b"\0", b"\1", b"\2"]}


def test_what_lies_beside_a_table_comes_along(tmp_path: Path) -> None:
    root = recordings(tmp_path / "in", 20)
    (root / "LICENSE").write_text("free")
    done = prepared(root, tmp_path / "out", [{"do": "sample", "rows": 12}, {"do": "split", "test": 0.25, "validation": 0.25}])
    assert done.splits == {"train": 6, "validation": 3, "test": 3}
    names = [Path(name).suffix or name for name in files_of(tmp_path / "out" / "data")]
    assert sorted(names) == [*[".csv"] * 3, *[".wav"] * 12, "LICENSE"]
    found = profile_dataset(tmp_path / "out" / "data", ValidationData(), lambda now, total: None)
    assert (found.valid, found.task, found.splits) == (True, "speech-recognition", done.splits)


def test_an_old_encoding_becomes_utf_8(tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", TABLE, encoding="cp1252")
    write_csv(tmp_path / "in" / "b.csv", TABLE, encoding="utf-16")
    write_csv(tmp_path / "in" / "c.csv", TABLE, encoding="utf-8-sig")
    done = prepared(tmp_path / "in", tmp_path / "out", [{"do": "fix_encoding"}, {"do": "drop_duplicates"}])
    assert done.steps[0].fitted == {"files": {"a.csv": "cp1252", "b.csv": "utf-16", "c.csv": "utf-8-sig"}}
    assert done.rows_out == 30
    assert read_csv(tmp_path / "out" / "data" / "data.csv") == TABLE
    with_name = [{"do": "fix_encoding", "from": "utf-16"}]
    assert [problem.partition(":")[0] for problem in refusal(tmp_path / "in", tmp_path / "no", with_name)] == [
        "/data/steps/0 (fix_encoding)"
    ] * 2


def test_everything_that_does_not_apply_is_refused_at_once_with_its_step(tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", TABLE)
    steps: Steps = [
        {"do": "normalise", "columns": ["colour", "size"]},
        {"do": "map_columns", "rename": {"größe": "size"}, "drop": ["colour"]},
        {"do": "clip_outliers", "columns": ["size", "colour"]},
        {"do": "augment", "images": {"flip": True}},
        {"do": "balance"},
        {"do": "split", "by": "group"},
        {"do": "map_columns", "rename": {"id": "size"}},
        {"do": "sample", "rows": 3, "stratified_by": "gone"},
    ]
    problems = refusal(tmp_path / "in", tmp_path / "out", steps)
    assert [problem.partition(":")[0] for problem in problems] == [
        *["/data/steps/0 (normalise)"] * 2,
        "/data/steps/2 (clip_outliers)",
        "/data/steps/3 (augment)",
        "/data/steps/4 (balance)",
        "/data/steps/5 (split)",
        "/data/steps/6 (map_columns)",
        "/data/steps/7 (sample)",
    ]
    assert "20 cells that are no finite numbers, the first is 'red'" in problems[0]
    assert "there is no column 'size'; the columns are 'id', 'größe', 'colour'" in problems[1]
    assert "two columns would be called 'size'" in problems[6]


def test_what_proves_impossible_on_the_way_names_its_step(tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", TABLE)
    steps: Steps = [{"do": "drop_missing"}, {"do": "split", "by": "time", "column": "colour"}]
    assert "/data/steps/1 (split): split time: 18 cells" in refusal(tmp_path / "in", tmp_path / "out", steps)[0]
    write_csv(tmp_path / "empty" / "a.csv", [["a", "b"], ["", "1"], ["2", ""]])
    assert refusal(tmp_path / "empty", tmp_path / "none", [{"do": "drop_missing"}]) == ["/data/steps/0 (drop_missing): no row is left"]


def test_rows_that_cannot_be_read_fail_or_are_left_out_as_asked(tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [*TABLE, ["short"]])
    assert "a.csv, row 32: 1 cells where the header has 3" in refusal(tmp_path / "in", tmp_path / "no", [{"do": "drop_duplicates"}])[0]
    done = prepared(tmp_path / "in", tmp_path / "out", [{"do": "drop_duplicates"}], on_bad_rows="drop")
    assert (done.rows_out, done.num_rows_left_out) == (30, 1)


BROKEN = {
    "a.csv": b"",
    "a.tsv": b"\0\0",
    "a.json": b"[{",
    "a.jsonl": b'{"a": 1}\n{"a": "x"}\n',
    "a.parquet": b"PAR1",
    "a.zip": b"PK",
    "a.txt": b"\n",
    "a.conll": b"EU\n",
    "a.bin": b"\0",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_dataset_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(BROKEN[name])
    assert refusal(tmp_path / "in", tmp_path / "out", [{"do": "drop_duplicates"}])


def test_a_job_leaves_the_dataset_and_what_was_done(launch: Launch, tmp_path: Path) -> None:
    launch.data_dir = tmp_path / "in"
    write_csv(launch.data_dir / "a.csv", TABLE)
    spec = {"recipe": "dataset-preparation", "dataset": {"path": "/unused"}, "data": {"steps": [{"do": "split", "seed": 3}]}}
    attempt = launch(spec, num_ranks=1).run()
    attempt.expect(Reason.COMPLETED)
    manifest = verify(attempt.run_dir.artifacts)
    assert [file.path for file in manifest.files] == ["data/test.csv", "data/train.csv", "data/validation.csv", PREPARATION]
    done = Preparation.model_validate_json((attempt.run_dir.artifacts / PREPARATION).read_bytes())
    assert done.splits == {"train": 24, "validation": 3, "test": 3}
    assert done.spec[0]["seed"] == 3
    result = attempt.result()
    assert result is not None
    assert result.metrics == {"rows_in": 30, "rows_out": 30}


def test_a_job_whose_steps_do_not_apply_fails_as_invalid_data(launch: Launch, tmp_path: Path) -> None:
    launch.data_dir = tmp_path / "in"
    write_csv(launch.data_dir / "a.csv", TABLE)
    steps = [{"do": "normalise", "columns": ["colour"]}, {"do": "balance", "label": "class"}]
    attempt = launch({"recipe": "dataset-preparation", "dataset": {"path": "/unused"}, "data": {"steps": steps}}, num_ranks=1).run()
    outcome = attempt.expect(Reason.INVALID_DATA)
    assert "/data/steps/0 (normalise)" in str(outcome)
    assert "/data/steps/1 (balance)" in str(outcome)
    assert list(attempt.run_dir.artifacts.iterdir()) == []

"""Tables that need not fit into memory: what a preparation holds does not grow with its rows, and it gives the same bytes everywhere."""

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from core.recipes import parse_spec
from core.recipes.dataset_preparation import DatasetPreparationSpec
from tests.trainer.made_up_files import RATE, write_csv, write_json_lines, zipped
from tests.trainer.preparing import Steps, files_of, is_reproducible, prepared, prepared_elsewhere, profiled, refusal
from trainer.tools.dataset_preparation import transform
from trainer.tools.telling import StopAsked, Tell

TEXT_BYTES = 2000  # of each row
NAMES = ["id", "text", "n", "label"]
ROW_BY_ROW: Steps = [
    {"do": "map_columns", "rename": {"n": "number"}},
    {"do": "drop_missing"},
    {"do": "clip_outliers", "columns": ["number"], "by": "bounds", "max": 90},
    {"do": "sample", "fraction": 0.9},
    {"do": "split"},
]
BY_KEYS: Steps = [
    {"do": "drop_duplicates"},
    {"do": "impute", "columns": ["n"]},
    {"do": "split", "by": "stratified", "column": "label"},
    {"do": "balance", "label": "label", "how": "over"},
    {"do": "normalise", "columns": ["n"]},
]


def chunk(start: int, num: int) -> list[list[object]]:
    """No row's text compresses, and none is like another."""
    random = np.random.default_rng(start)
    texts = [random.bytes(TEXT_BYTES // 2).hex() for _ in range(num)]
    return [[row, text, row % 97 if row % 11 else None, "abc"[row % 3 == 0]] for row, text in enumerate(texts, start)]


def write_rows_as_csv(path: Path, num: int) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(NAMES)
        for start in range(0, num, 1000):
            writer.writerows(chunk(start, 1000))


def write_rows_as_parquet(path: Path, num: int) -> None:
    schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("n", pa.int64()), ("label", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, num, 10_000):
            columns = zip(*chunk(start, 10_000), strict=True)
            writer.write_table(pa.table([pa.array(cells) for cells in columns], schema=schema))


def growth(write: Callable[[Path, int], None], name: str, steps: Steps, folder: Path) -> tuple[int, int]:
    """(bytes by which the file grew, bytes by which the peak of memory did) from 10,000 rows to 80,000."""
    sizes, peaks = [], []
    for num in (10_000, 80_000):
        root = folder / str(num)
        root.mkdir()
        write(root / name, num)
        sizes.append((root / name).stat().st_size)
        done = prepared_elsewhere(root, folder / f"out{num}", steps)
        assert done["done"]["rows_in"] == num
        assert done["peak"] > done["before"], "the peak is not that of the imports"
        peaks.append(done["peak"])
    return sizes[1] - sizes[0], peaks[1] - peaks[0]


@pytest.mark.parametrize("steps", [ROW_BY_ROW, BY_KEYS], ids=["row by row", "by keys"])
@pytest.mark.parametrize(("write", "name"), [(write_rows_as_csv, "a.csv"), (write_rows_as_parquet, "a.parquet")], ids=["csv", "parquet"])
def test_memory_stays_flat_while_a_table_grows(write: Callable[[Path, int], None], name: str, steps: Steps, tmp_path: Path) -> None:
    of_file, of_memory = growth(write, name, steps, tmp_path)
    print(f"{name}: the file grew by {of_file >> 20} MiB, memory by {of_memory >> 20} MiB")
    assert of_file > 100 << 20
    assert of_memory < 0.35 * of_file, f"{of_memory >> 20} MiB more for {of_file >> 20} MiB more"


def test_memory_stays_flat_while_an_archive_of_recordings_grows(tmp_path: Path) -> None:
    """Noise, which no archive makes smaller."""
    steps: Steps = [{"do": "drop_duplicates"}, {"do": "drop_by_length", "unit": "seconds", "min": 1}, {"do": "split"}]
    sizes, peaks = [], []
    for num in (20, 300):
        noise = np.random.default_rng(num)
        root = tmp_path / str(num)
        write_csv(root / "metadata.csv", [["file_name", "text"], *([f"{n}.wav", str(n)] for n in range(num))])
        for number in range(num):
            soundfile.write(root / f"{number}.wav", noise.integers(-(2**15), 2**15, 1 << 18).astype(np.int16), RATE)
        archive = zipped(root, tmp_path / f"{num}.zip")
        sizes.append(archive.stat().st_size)
        done = prepared_elsewhere(archive, tmp_path / f"out{num}", [*steps, {"do": "augment", "audio": {"noise": 20}}])
        assert done["done"]["rows_in"] == num
        peaks.append(done["peak"])
    print(f"the archive grew by {sizes[1] - sizes[0] >> 20} MiB, memory by {peaks[1] - peaks[0] >> 20} MiB")
    assert sizes[1] - sizes[0] > 100 << 20
    assert peaks[1] - peaks[0] < 0.1 * (sizes[1] - sizes[0])


def test_large_tables_are_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """More than one batch and one row group."""
    for name, write in (("csv", write_rows_as_csv), ("parquet", write_rows_as_parquet)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / f"a.{name}", 10_000)
        assert is_reproducible(tmp_path / name, tmp_path / f"{name}-out", [*BY_KEYS, {"do": "sample", "fraction": 0.5}])


def test_batches_leave_no_trace_in_the_rows(tmp_path: Path) -> None:
    """Each row comes once, with its own cells, whichever batch it was read in."""
    rows = [["id", "n", "half"], *([str(n), str(n % 5000), "" if n % 2 else "x"] for n in range(10_000))]
    write_csv(tmp_path / "in" / "a.csv", rows)
    steps: Steps = [
        {"do": "drop_missing"},
        {"do": "drop_duplicates", "columns": ["n"]},
        {"do": "split", "by": "time", "column": "id", "test": 0.1, "validation": 0.1},
        {"do": "clip_outliers", "columns": ["n"], "by": "bounds", "min": 100, "max": 4000},
    ]
    done = prepared(tmp_path / "in", tmp_path / "out", steps)
    assert done.splits == {"train": 2000, "validation": 250, "test": 250}
    assert done.steps[3].num_changed == 50 + 499
    written = {name: list(csv.reader(content.decode().splitlines()))[1:] for name, content in files_of(tmp_path / "out" / "data").items()}
    assert [int(row[0]) for name in ("train.csv", "validation.csv", "test.csv") for row in written[name]] == list(range(0, 5000, 2))
    assert all(float(row[1]) == min(max(int(row[0]) % 5000, 100), 4000) for found in written.values() for row in found)


def test_a_preparation_that_is_stopped_hears_it_within_a_batch_and_leaves_nothing(tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [["id", "n"], *([str(n), str(n % 50)] for n in range(20_000))])
    steps: Steps = [{"do": "fix_encoding"}, {"do": "drop_duplicates", "columns": ["id"]}, {"do": "normalise", "columns": ["n"]}]
    told: list[tuple[int, int]] = []
    prepare(tmp_path / "in", tmp_path / "whole", steps, tell=lambda done, total: told.append((done, total)))
    assert len(told) > 5 * (1 + 2 + 1 + 1), "each batch of each pass is told"
    assert told == sorted(told, key=lambda place: place[0] / place[1])

    def stop_at(call: int) -> Tell:
        calls = itertools.count(1)

        def tell(done: int, total: int) -> None:
            if next(calls) == call:
                raise StopAsked

        return tell

    for call in (1, 4, len(told) // 2, len(told)):
        with pytest.raises(StopAsked):
            prepare(tmp_path / "in", tmp_path / f"out{call}", steps, tell=stop_at(call))
        assert not (tmp_path / f"out{call}" / "data").exists()


def prepare(root: Path, out: Path, steps: Steps, *, tell: Tell) -> None:
    spec = parse_spec(json.dumps({"recipe": "dataset-preparation", "dataset": {"path": "/unused"}, "data": {"steps": steps}}))
    assert isinstance(spec, DatasetPreparationSpec)
    transform(root, spec, scratch=out / "scratch", target=out / "data", tell=tell)


def test_a_cell_far_down_is_named_by_file_row_and_column(tmp_path: Path) -> None:
    write_csv(tmp_path / "in" / "a.csv", [["n", "split"], *([str(n), "train"] for n in range(9000))])
    write_csv(tmp_path / "in" / "b.csv", [["n", "split"], ["1", "test"], ["größe", "test"], ["2", "tset"]])
    steps: Steps = [{"do": "normalise", "columns": ["n"]}]
    assert refusal(tmp_path / "in", tmp_path / "no", steps)[0] == "b.csv, row 4, column split: 'tset' is none of train, validation, test"
    done = "column 'n' holds 1 cells that are no finite numbers, the first is 'größe', in b.csv, row 3"
    assert refusal(tmp_path / "in", tmp_path / "out", steps, on_bad_rows="drop") == [f"/data/steps/0 (normalise): {done}"]


def test_ratings_keep_their_name_and_the_tables_beside_them(tmp_path: Path) -> None:
    rows = [[str(n % 9), str(n % 7), str(n % 5)] for n in range(63)]
    write_csv(tmp_path / "in" / "ratings.csv", [["user_id", "movie_id", "rating"], *rows, rows[0]])
    write_csv(tmp_path / "in" / "movies.csv", [["movie_id", "title"], ["1", "Élan"]])
    prepared(tmp_path / "in", tmp_path / "out", [{"do": "drop_duplicates"}])
    assert sorted(files_of(tmp_path / "out" / "data")) == ["movies.csv", "ratings.csv"]
    found = profiled(tmp_path / "out" / "data")
    assert (found.valid, found.task, found.num_rows) == (True, "recommendation", 63)


def test_tagged_records_are_renamed_weighed_and_measured_beside_the_names_of_their_tags(tmp_path: Path) -> None:
    tags = [["B-a", "I-a"], ["O", "B-b"], ["O", "O"]]
    records = [{"id": n, "tokens": ["x", str(n)], "ner_tags": tags[n % 3]} for n in range(60)]
    write_json_lines(tmp_path / "in" / "rows.jsonl", [*records, {"id": 60, "tokens": ["alone"], "ner_tags": ["O"]}])
    (tmp_path / "in" / "labels.json").write_text('["O", "B-a", "I-a", "B-b", "I-b"]')
    steps: Steps = [
        {"do": "drop_by_length", "unit": "words", "min": 2},
        {"do": "map_tags", "rename": {"a": "place"}, "drop": ["b"]},
        {"do": "balance"},
    ]
    done = prepared(tmp_path / "in", tmp_path / "out", steps)
    assert [step.rows_out for step in done.steps] == [60, 60, 40]
    assert sorted(files_of(tmp_path / "out" / "data")) == ["labels.json", "rows.jsonl"]
    found = profiled(tmp_path / "out" / "data")
    assert (found.valid, found.task, found.num_rows) == (True, "token-classification", 40)
    assert found.labels is not None
    assert set(found.labels.counts["all"]) == {"O", "B-place", "I-place"}
    numbered = [{"tokens": ["x"], "tags": [1]}] * 3
    write_json_lines(tmp_path / "numbered" / "a.jsonl", numbered)
    assert "not lists of tags that are written out" in refusal(tmp_path / "numbered", tmp_path / "no", steps[1:2])[0]

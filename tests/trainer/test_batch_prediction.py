"""batch-prediction: every row of a dataset has its answer, in order, and a bad row spoils itself alone."""

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from core.manifest import verify
from core.recipes import RECIPES
from core.states import Reason
from tests.e2e import tiny_data
from tests.trainer.launching import Attempt
from tests.trainer.packages import Packages, Trained
from trainer.errors import InvalidData
from trainer.predict import predictor_class
from trainer.predict.loading import load_model, read_config
from trainer.predict.predictor import BadInput, Predictor
from trainer.predict.rows import Row, rows_of
from trainer.tools.batches import each_or_problem
from trainer.tools.prediction_file import PredictionFile


def lines_of(attempt: Attempt) -> list[dict[str, Any]]:
    attempt.expect(Reason.COMPLETED)
    verify(attempt.run_dir.artifacts)
    return [json.loads(line) for line in (attempt.run_dir.artifacts / "predictions.jsonl").read_text().splitlines()]


def metrics_of(attempt: Attempt) -> dict[str, float]:
    result = attempt.result()
    assert result is not None
    assert result.metrics.keys() <= set(RECIPES["batch-prediction"].metrics)
    return result.metrics


def predictor_of(trained: Trained) -> Predictor:
    config = read_config(trained.folder)
    return predictor_class(config["recipe"])(trained.folder, config, load_model(trained.folder, config, "cpu"))


def test_a_bad_row_is_named_in_its_place_and_the_rest_is_predicted(packages: Packages, tmp_path: Path) -> None:
    rows = [("3.9", 4, "north"), ("heavy", 4, "north"), ("401", "", "south"), ("4.1", 2, "unheard-of")]
    table = tiny_data.write_csv(tmp_path / "new.csv", [("weight", "age", "island"), *rows])
    with table.open("a") as file:
        file.write("1,2\n")
    attempt = packages.use("batch-prediction", packages("tabular"), table, tmp_path)

    lines = lines_of(attempt)
    assert [line["row"] for line in lines] == [2, 3, 4, 5, 6]
    assert [line.get("prediction") for line in lines] == ["cat", None, "horse", "cat", None]
    assert lines[1]["error"] == "column weight: 'heavy' is not a number"
    assert lines[4]["error"] == "2 cells where the header has 3"
    assert (metrics_of(attempt)["num_rows"], metrics_of(attempt)["num_bad_rows"]) == (5, 2)
    report = json.loads((attempt.run_dir.artifacts / "data_report.json").read_text())
    assert report["problems"][0] == "new.csv, row 3: column weight: 'heavy' is not a number"


@pytest.mark.parametrize(("how", "num_lines"), [("drop", 1), ("fail", None)])
def test_bad_rows_are_left_out_or_fail_the_job(how: str, num_lines: int | None, packages: Packages, tmp_path: Path) -> None:
    table = tiny_data.write_csv(tmp_path / "new.csv", [("weight", "age", "island"), ("3.9", 4, "north"), ("heavy", 4, "north")])
    attempt = packages.use("batch-prediction", packages("tabular"), table, tmp_path, data={"on_bad_rows": how})

    if num_lines is None:
        assert "new.csv, row 3: column weight" in attempt.expect(Reason.INVALID_DATA).message
    else:
        assert len(lines_of(attempt)) == num_lines


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_images_of_an_archive_become_a_table(form: str, packages: Packages, tmp_path: Path) -> None:
    trained = packages("image-classification")
    attempt = packages.use("batch-prediction", trained, trained.data, tmp_path, evaluation={"format": form, "batch_size": 7})

    attempt.expect(Reason.COMPLETED)
    path = attempt.run_dir.artifacts / f"predictions.{form}"
    if form == "csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = pq.read_table(path).to_pylist()
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)
    assert len(rows) == 80
    assert sum(float(value) for value in json.loads(rows[0]["probabilities"])) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "name",
    ["tabular-numbers", "text-classification", "token-classification", "causal-language-modeling", "speech-recognition", "recommendation"],
)
def test_every_kind_of_dataset_is_answered_row_by_row_as_it_stands(name: str, packages: Packages) -> None:
    trained = packages(name)
    predictor = predictor_of(trained)
    num = 2 if name == "causal-language-modeling" else 5  # it writes on, token by token
    rows = list(itertools.islice(rows_of(trained.data, predictor), num))

    with torch.inference_mode():
        together, alone = predictor.answer([row.record for row in rows]), [predictor.answer([row.record])[0] for row in rows]
    assert len(together) == num
    for one, other in zip(together, alone, strict=True):
        assert one.keys() == other.keys()
        assert one.get("label", one.get("tags", one.get("text"))) == other.get("label", other.get("tags", other.get("text")))
        if "prediction" in one:
            assert one["prediction"] == pytest.approx(other["prediction"], rel=1e-4)


def test_a_row_without_an_item_gets_what_the_command_line_gives(packages: Packages, tmp_path: Path) -> None:
    predictor = predictor_of(packages("recommendation"))
    table = tiny_data.write_csv(tmp_path / "new.csv", [("user_id", "item_id"), ("4", "102"), ("5", ""), ("nobody", "")])

    with torch.inference_mode():
        rated, first, second = predictor.answer([row.record for row in rows_of(table, predictor)])
        listed = list(predictor.predict([table]))
    assert listed[0] == {"input": "4", "item": "102", **rated}
    assert [row["item"] for row in listed[1:]] == first["items"] + second["items"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"new.csv": "weight,age\n1,2\n"}, "there is no column 'island'"),
        ({"new.csv": "weight,age,island\n"}, "the dataset has no rows"),
        ({"notes.txt": "nothing"}, "holds nothing that this model reads"),
        ({"new.csv": "weight,age,island\nmany,1,north\n"}, "is not a number"),
    ],
)
def test_what_no_row_can_be_blamed_for_fails(files: dict[str, str], message: str, packages: Packages, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    attempt = packages.use("batch-prediction", packages("tabular"), folder, tmp_path)

    assert message in attempt.expect(Reason.INVALID_DATA).message


def test_a_cell_that_leads_out_of_the_dataset_is_a_bad_row(packages: Packages, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    tiny_data.write_csv(folder / "new.csv", [("image",), ("../secret.png",), ("nowhere.png",)])
    predictor = predictor_of(packages("image-classification"))

    problems = [row.problem for row in rows_of(folder, predictor)]
    assert problems == ["column image: '../secret.png' leads out of the dataset", "column image: there is no file 'nowhere.png'"]
    with pytest.raises(InvalidData, match="no file ends in"):
        list(rows_of(tmp_path / "nothing", predictor))


def test_of_a_batch_the_rows_that_cannot_be_used_are_found() -> None:
    def use(records: Any) -> list[int]:
        if any(record["number"] in (3, 4) for record in records):
            raise BadInput("three or four")
        return [2 * record["number"] for record in records]

    rows = [Row("a", number, {"number": number}, problem="broken" if number == 6 else None) for number in range(8)]
    found = [(row.row, value, problem) for row, value, problem in each_or_problem(use, rows)]

    assert [value for _, value, _ in found] == [0, 2, 4, None, None, 10, None, 14]
    assert [number for number, _, problem in found if problem] == [3, 4, 6]


def test_a_column_that_turns_up_late_is_a_column(tmp_path: Path) -> None:
    file = PredictionFile(tmp_path, "csv", tmp_path)
    for prediction in ({"row": 1, "score": 1}, {"row": 2, "score": 0.5, "error": "é, bad"}, {"row": 3, "items": ["a"]}):
        file.add(prediction)
    file.finish()

    assert file.path.read_text() == 'row,score,error,items\n1,1.0,,\n2,0.5,"é, bad",\n3,,,"[""a""]"\n'
    assert not (tmp_path / "predictions.jsonl").exists()


def test_asked_to_stop_it_leaves_within_a_batch(packages: Packages, tmp_path: Path) -> None:
    trained = packages("causal-language-modeling")
    (tmp_path / "prompts.txt").write_text("a lovely film\n" * 5000)
    attempt = packages.start("batch-prediction", trained, tmp_path / "prompts.txt", tmp_path, evaluation={"batch_size": 1})
    attempt.wait_for(lambda: attempt.run_dir.progress.exists() and attempt.progress().step > 0, "a first prediction")
    attempt.run_dir.ask_to_stop("cancel")
    attempt.terminate()

    attempt.wait().expect(Reason.CANCELLED)
    result = attempt.result()
    assert result is not None
    assert result.outcome == "stopped"

"""What is done with a trained model, by real jobs: scored, promoted or refused, exported, asked for a whole dataset at once."""

import csv
import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bed.stack import ROOT, Stack
from tests.bed.waiting import until
from tests.e2e.tiny_data import write_csv

PARTS = {"train": 200, "validation": 40, "test": 60}
ON_CPU = {"accelerator": "cpu"}
MAX_ROWS = 64  # of one request
TRAINING: dict[str, dict[str, Any]] = {
    "good": {"epochs": 8, "batch_size": 32},
    "bad": {"max_steps": 1, "warmup_epochs": 0, "learning_rate": 1e-7},
}


@dataclass(frozen=True)
class Animals:
    """``jobs`` and ``versions`` of the model ``animals``: a good one, and one that has hardly learned."""

    jobs: dict[str, dict[str, Any]]
    versions: dict[str, int]
    folder: Path

    def rows(self, part: str) -> list[dict[str, str]]:
        with (self.folder / f"{part}.csv").open(newline="") as file:
            return list(csv.DictReader(file))


def write_animals(folder: Path) -> None:
    """Cats and dogs, which weight and tail tell apart most of the time, and not always."""
    rng = random.Random(8)
    for part, num in PARTS.items():
        rows: list[tuple[Any, ...]] = []
        for kind in rng.choices(("cat", "dog"), k=num):
            weight = rng.gauss(5 if kind == "cat" else 9, 2)
            tail = "" if rng.random() < 0.1 else rng.randrange(10, 40)
            rows.append((f"{weight:.2f}", tail, rng.choice(("north", "south")), kind))
        write_csv(folder / f"{part}.csv", [("weight", "tail", "island", "species"), *rows])


@pytest.fixture(scope="module")
def animals(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Animals:
    """Both jobs are submitted before anybody has looked at their data."""
    folder = tmp_path_factory.mktemp("animals")
    write_animals(folder)
    stack.post("/v1/datasets", {"name": "animals", "task": "tabular"})
    for path in folder.iterdir():
        stack.http.put(f"/v1/datasets/animals/files/{path.name}", content=path.read_bytes()).raise_for_status()
    validation = stack.post("/v1/datasets/animals/commit")["job_id"]
    spec = {"recipe": "tabular", "dataset": "animals", "resources": ON_CPU, "register_as": "animals"}
    ids = {name: stack.submit({**spec, "training": training}) for name, training in TRAINING.items()}
    jobs = {name: succeeded(stack, job) for name, job in ids.items()}
    assert stack.job(validation)["finished_at"] <= min(job["started_at"] for job in jobs.values()), "they have waited for their data"
    listed = stack.get("/v1/models/animals/versions")["data"]
    return Animals(jobs, {name: next(it["version"] for it in listed if it["job_id"] == job) for name, job in ids.items()}, folder)


def succeeded(stack: Stack, job: str) -> dict[str, Any]:
    state = stack.wait_terminal(job, seconds=120)
    assert state["state"] == "succeeded", stack.explain(job)
    return state


def tool(stack: Stack, animals: Animals, recipe: str, **sections: Any) -> dict[str, Any]:
    """A finished job on the good model and its dataset."""
    base = {"name": "animals", "version": animals.versions["good"]}
    spec = {"recipe": recipe, "base_model": base, "dataset": "animals@1", "resources": ON_CPU, **sections}
    return succeeded(stack, stack.submit(spec))


def answers(stack: Stack, animals: Animals, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """What the service says when it is asked for these rows."""
    inputs = [{name: value for name, value in row.items() if name != "species"} for row in rows]
    url = f"/v1/models/animals/predict?version={animals.versions['good']}&timeout_seconds=90"
    found: list[dict[str, Any]] = []
    for start in range(0, len(inputs), MAX_ROWS):
        answer = stack.http.post(url, json={"rows": inputs[start : start + MAX_ROWS]}, timeout=100)
        assert answer.status_code == 200, f"{answer.text}\n{stack.logs()}"
        found += answer.json()["predictions"]
    return found


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert [row["prediction"] for row in ours] == [row["prediction"] for row in theirs]
    assert {row["prediction"] for row in ours} == {"cat", "dog"}
    assert [row["probability"] for row in ours] == pytest.approx([row["probability"] for row in theirs], abs=1e-5)


def promote(stack: Stack, version: int) -> dict[str, Any]:
    """Asks for it, checked by jobs on the dataset, and waits for the outcome."""
    check = {"metric": "accuracy", "dataset": {"name": "animals", "version": 1}}
    asked = stack.http.put("/v1/models/animals/aliases/production", json={"version": version, "unless_worse": check})
    assert asked.status_code == 202, asked.text
    url = f"/v1/models/animals/promotions/{asked.json()['id']}"
    until(lambda: stack.get(url)["outcome"] != "pending", within=120, what="the promotion is settled", explain=stack.logs)
    return stack.get(url)


def test_scores_of_the_tool_are_those_of_the_jobs_own_test(stack: Stack, animals: Animals) -> None:
    trained = animals.jobs["good"]["metrics"]
    scored = tool(stack, animals, "model-evaluation", data={"split": "test"})["metrics"]
    assert scored["num_rows"] == PARTS["test"]
    assert 0.6 < trained["test_accuracy"] < 1.0, "a score that could differ"
    for name in ("accuracy", "macro_f1", "loss"):
        assert scored[name] == pytest.approx(trained[f"test_{name}"], abs=1e-5), name


def test_a_promotion_is_decided_by_what_both_versions_score_now(stack: Stack, animals: Animals) -> None:
    good, bad = animals.versions["good"], animals.versions["bad"]
    stack.http.put("/v1/models/animals/aliases/production", json={"version": bad}).raise_for_status()
    passed = promote(stack, good)
    assert passed["outcome"] == "promoted", passed
    assert passed["check"]["candidate"] > passed["check"]["current"]
    assert stack.get("/v1/models/animals/versions/production")["version"] == good

    refused = promote(stack, bad)
    assert refused["outcome"] == "refused", refused
    assert (refused["check"]["candidate"], refused["check"]["current"]) == (passed["check"]["current"], passed["check"]["candidate"])
    assert stack.get("/v1/models/animals/versions/production")["version"] == good, "nothing has changed"


def test_a_batch_answers_every_row_as_a_request_does(stack: Stack, animals: Animals) -> None:
    job = tool(stack, animals, "batch-prediction")
    lines = [json.loads(line) for line in stack.download(job["id"], "predictions.jsonl").splitlines()]
    assert job["metrics"]["num_rows"] == len(lines) == sum(PARTS.values())
    for part in PARTS:
        mine = [line for line in lines if line["file"] == f"{part}.csv"]
        assert [line["row"] for line in mine] == list(range(2, PARTS[part] + 2)), "row 1 is the header"
        assert_same(mine, answers(stack, animals, animals.rows(part)))


def test_an_export_to_onnx_answers_as_the_model_does(stack: Stack, animals: Animals, tmp_path: Path) -> None:
    job = tool(stack, animals, "model-export", model={"format": "onnx"})
    assert job["metrics"]["max_error"] < 1e-4
    export = tmp_path / "export"
    for item in stack.artifacts(job["id"]):
        path = export / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stack.download(job["id"], item["path"]))
    assert not list(export.rglob("*.safetensors")), "its weights are in model.onnx"
    command = [sys.executable, "-m", "trainer.predict", str(export), str(animals.folder / "test.csv"), "--json"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert said.returncode == 0, said.stderr
    assert_same([json.loads(line) for line in said.stdout.splitlines()], answers(stack, animals, animals.rows("test")))

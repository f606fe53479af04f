"""Every recipe from POST to a downloaded package that predicts, on two ranks, with data that lies on the worker."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.recipes import RECIPES
from core.recipes.sections.tool import ToolSpec
from tests.bed.databases import Databases
from tests.bed.servers import Servers
from tests.bed.stack import Stack
from tests.e2e import tiny_data

ROOT = Path(__file__).parents[2]
ON_TWO_RANKS = {"devices_per_node": 2, "accelerator": "cpu"}
ENCODER = {"family": "encoder", "width": 32, "num_layers": 2, "num_heads": 2}


@dataclass(frozen=True)
class Case:
    """``ask`` makes the input of the predictor in a folder; ``is_right`` judges what it says, a row for each thing asked."""

    data: Callable[[Path], Path]
    spec: dict[str, Any]
    ask: Callable[[Path], str]
    is_right: Callable[[list[dict[str, Any]]], object]
    base: str | None = None  # the case whose model it starts from


def two_images(folder: Path) -> str:
    rng = np.random.default_rng(99)
    for name in ("left", "top"):
        (folder / f"{name}.png").write_bytes(tiny_data.image(name, rng))
    return str(folder)


def two_animals(folder: Path) -> str:
    return str(tiny_data.write_csv(folder / "new.csv", [("weight", "age", "island"), ("4.1", "3", "north"), ("401", "", "south")]))


def two_opinions(folder: Path) -> str:
    path = folder / "new.txt"
    path.write_text("a splendid book and lovely\nan awful film and dull\n")
    return str(path)


def two_tones(folder: Path) -> str:
    tiny_data.write_tone(folder / "1.wav", 300)
    tiny_data.write_tone(folder / "2.wav", 1800)
    return str(folder)


def one_user(folder: Path) -> str:
    return str(tiny_data.write_csv(folder / "new.csv", [("user_id", "item_id"), ("4", "102"), ("4", "103")]))


CASES: dict[str, Case] = {
    "image-classification": Case(
        data=tiny_data.images,
        spec={"model": {"family": "resnet", "width": 8}, "training": {"epochs": 6, "batch_size": 16}},
        ask=two_images,
        is_right=lambda said: [row["label"] for row in said] == ["left", "top"],
    ),
    "tabular": Case(
        data=tiny_data.measurements,
        spec={"training": {"epochs": 10}},
        ask=two_animals,
        is_right=lambda said: [row["prediction"] for row in said] == ["cat", "horse"],
    ),
    "text-classification": Case(
        data=tiny_data.labelled_texts,
        spec={"training": {"epochs": 6, "batch_size": 16}},
        ask=two_opinions,
        is_right=lambda said: [row["label"] for row in said] == ["good", "bad"],
    ),
    "recommendation": Case(
        data=tiny_data.ratings,
        spec={
            "model": {"family": "matrix-factorization", "width": 4, "vector_l2": 0.1},
            "training": {"epochs": 20, "batch_size": 32, "learning_rate": 5e-2},
        },
        ask=one_user,
        is_right=lambda said: said[0]["prediction"] > 4 > 2 > said[1]["prediction"],
    ),
    "token-classification": Case(
        data=tiny_data.tagged_texts,
        spec={
            "model": {"family": "bilstm", "embedding": 16, "character_channels": 8, "width": 16},
            "training": {"epochs": 8, "batch_size": 16, "learning_rate": 1e-2},
        },
        ask=lambda folder: "Carla went to Lima on foot",
        is_right=lambda said: [(it["type"], it["text"]) for it in said[0]["entities"]] == [("person", "Carla"), ("place", "Lima")],
    ),
    "speech-recognition": Case(
        data=tiny_data.speech,
        spec={
            "model": {"family": "conv-transformer", "width": 16, "num_layers": 1, "num_heads": 2, "convolution": 0},
            "data": {"num_mels": 16},
            "training": {"epochs": 20, "batch_size": 8, "learning_rate": 1e-2, "frequency_masks": 0, "time_masks": 0},
        },
        ask=two_tones,
        is_right=lambda said: [row["text"] for row in said] == ["a", "b"],
    ),
    "masked-language-modeling": Case(
        data=tiny_data.texts,
        spec={"model": ENCODER, "data": {"tokenizer": {"max_length": 32}}, "training": {"epochs": 2}},
        ask=lambda folder: "a lovely [MASK] and warm",
        is_right=lambda said: "[MASK]" not in said[0]["text"],
    ),
    "text-classification from masked-language-modeling": Case(
        data=tiny_data.labelled_texts,
        spec={
            "recipe": "text-classification", "model": ENCODER, "fine_tuning": {"train": "all"},
            "data": {"tokenizer": {"max_length": 32}}, "training": {"epochs": 8, "batch_size": 16, "learning_rate": 2e-3},
        },
        ask=two_opinions,
        is_right=lambda said: [row["label"] for row in said] == ["good", "bad"],
        base="masked-language-modeling",
    ),
    "causal-language-modeling": Case(
        data=tiny_data.texts,
        spec={
            "model": {"family": "gpt", "num_layers": 2, "num_heads": 2, "width": 32},
            "data": {"tokenizer": "char", "context_length": 32}, "training": {"epochs": 1, "max_steps": 40},
            "evaluation": {"sample_tokens": 8},
        },
        ask=lambda folder: "a lovely",
        is_right=lambda said: len(json.dumps(said[0])) > len("a lovely"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Submitted:
    stack: Stack
    data: Path
    jobs: dict[str, str]

    def submit(self, name: str) -> None:
        case, folder = CASES[name], self.data / name.replace(" ", "-")
        folder.mkdir()
        spec = {"recipe": name, "dataset": {"path": str(case.data(folder))}, "resources": ON_TWO_RANKS, "seed": 1, **case.spec}
        if case.base is not None:
            spec["base_model"] = {"job": self.jobs[case.base]}
        self.jobs[name] = self.stack.submit(spec)

    def finished(self, name: str) -> dict[str, Any]:
        state = self.stack.wait_terminal(self.jobs[name], seconds=100)
        assert state["state"] == "succeeded", self.why(self.jobs[name])
        return state

    def why(self, job: str) -> str:
        return f"{self.stack.job(job)['failure']}\n{self.stack.get(f'/v1/jobs/{job}/logs')['text'][-3000:]}"

    def package(self, name: str, folder: Path) -> Path:
        """Every file that the job offers, downloaded."""
        for item in self.stack.artifacts(self.jobs[name]):
            path = folder / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.stack.download(self.jobs[name], item["path"]))
        return folder


@pytest.fixture(scope="module")
def submitted(servers: Servers, databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Submitted]:
    """All jobs at once, so that the node is never idle, but those that start from another's model."""
    data = tmp_path_factory.mktemp("data")
    with Stack(servers, databases, node_env={"TRAINYARD_DATA_ROOTS": json.dumps([str(data)])}) as stack:
        submitted = Submitted(stack, data, {})
        for name, case in CASES.items():
            if case.base is None:
                submitted.submit(name)
        yield submitted


def test_every_recipe_that_trains_has_a_case() -> None:
    tools = {name for name, spec in RECIPES.items() if issubclass(spec, ToolSpec)}
    assert set(RECIPES) - tools - {"script", "scripted"} - set(CASES) == set()


@pytest.mark.parametrize("name", CASES)
def test_a_recipe_trains_and_its_package_predicts(submitted: Submitted, name: str, tmp_path: Path) -> None:
    base = CASES[name].base
    if base is not None:
        submitted.finished(base)
        submitted.submit(name)
    state = submitted.finished(name)
    package = submitted.package(name, tmp_path / "package")

    config = json.loads((package / "config.json").read_text())
    assert config["recipe"] == submitted.stack.job(submitted.jobs[name])["spec"]["recipe"]
    assert "test_loss" in state["metrics"]
    assert (package / "model.safetensors").stat().st_size > 0
    assert json.loads((package / "data_report.json").read_text())
    asked = tmp_path / "asked"
    asked.mkdir()
    said = predict(package, CASES[name].ask(asked))
    assert CASES[name].is_right(said), said


def test_bad_rows_end_a_job_with_all_of_them_named(submitted: Submitted) -> None:
    folder = submitted.data / "text-classification"
    rows = (folder / "reviews.csv").read_bytes()
    (folder / "broken.csv").write_bytes(rows + b"one cell\n,good\ncaf\xe9,good\n")
    spec = {"recipe": "text-classification", "dataset": {"path": str(folder / "broken.csv")}, "training": {"epochs": 1}}
    refused, accepted = (
        submitted.stack.submit({**spec, "resources": ON_TWO_RANKS, "data": {"on_bad_rows": choice}}) for choice in ("fail", "drop")
    )

    failure = submitted.stack.wait_terminal(refused, seconds=60)["failure"]
    assert failure["reason"] == "invalid_data"
    assert failure["message"].removeprefix("InvalidData: ").splitlines() == [
        "broken.csv, row 162: 1 cells where the header has 2",
        "broken.csv, row 163, column text: it is empty",
        f"broken.csv, row 164: byte {len(rows) + 18} (0xe9) is not UTF-8; in cp1252 (Windows) it would be 'é': save the file as UTF-8",
        '3 rows cannot be used; data.on_bad_rows "drop" goes on without them',
    ]
    assert submitted.stack.wait_terminal(accepted, seconds=60)["state"] == "succeeded", submitted.why(accepted)
    report = json.loads(submitted.stack.download(accepted, "data_report.json"))
    assert report["rows_dropped"] == 3


def predict(package: Path, asked: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "trainer.predict", str(package), asked, "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]

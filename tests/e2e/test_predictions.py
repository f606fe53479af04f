"""A model is trained, registered by its spec, and tried out: what the service answers is what the package answers offline."""

import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.bed.census import everyone, family
from tests.bed.stack import ROOT, Stack
from tests.bed.waiting import until

PATIENCE = {"timeout_seconds": 90}
SPEC: dict[str, Any] = {
    "recipe": "image-classification",
    "dataset": {"builtin": "digits"},
    "training": {"epochs": 1},
    "resources": {"accelerator": "cpu"},
    "register_as": "digits",
}


@pytest.fixture(scope="module")
def trained(stack: Stack) -> str:
    job = stack.submit(SPEC)
    assert stack.wait_terminal(job, seconds=100)["state"] == "succeeded", stack.explain(job)
    return job


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with two digits as PNG."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(2):
        pixels = (load_digits().images[number] * 15.9).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def offline(stack: Stack, job: str, images: Path, package: Path) -> list[dict[str, Any]]:
    for item in stack.artifacts(job):
        path = package / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stack.download(job, item["path"]))
    command = [sys.executable, "-m", "trainer.predict", str(package), str(images), "--json"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return [{name: value for name, value in json.loads(line).items() if name != "input"} for line in said.stdout.splitlines()]


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    return [row["label"] for row in one] == [row["label"] for row in other] and all(
        a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-5) for a, b in zip(one, other, strict=True)
    )


def test_a_registered_model_answers_as_its_package_does_offline(stack: Stack, trained: str, images: Path, tmp_path: Path) -> None:
    right = offline(stack, trained, images, tmp_path / "package")
    until(lambda: stack.http.get("/v1/models/digits/versions/latest").status_code == 200, within=20, what="the model is registered")
    contents = [path.read_bytes() for path in sorted(images.iterdir())]
    url = "/v1/models/digits/predict"

    rows = [{"base64": b64encode(content).decode()} for content in contents]
    by_json = stack.http.post(url, json={"rows": rows}, params=PATIENCE, timeout=100)
    assert by_json.status_code == 200, f"{by_json.text}\n{stack.logs()}"
    assert same(by_json.json()["predictions"], right)
    assert by_json.json()["timing"]["load_seconds"] > 0

    form = [("file", (f"{number}.png", content, "image/png")) for number, content in enumerate(contents)]
    by_form = stack.http.post(url, files=form, params=PATIENCE, timeout=100)
    assert same(by_form.json()["predictions"], right), by_form.text
    assert by_form.json()["timing"]["load_seconds"] == 0
    by_body = stack.http.post(url, content=contents[1], headers={"Content-Type": "image/png"}, params=PATIENCE, timeout=100)
    assert same(by_body.json()["predictions"], right[1:]), by_body.text

    command = [sys.executable, "-m", "trainyard", "model", "predict", "digits@1", "--json", "--file", str(images / "0.png")]
    environ = {**os.environ, "TRAINYARD_URL": stack.url, "TRAINYARD_API_KEY": stack.admin_key}
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environ)
    assert said.returncode == 0, said.stderr
    assert same(json.loads(said.stdout)["predictions"], right[:1])
    bad = stack.http.post(url, content=contents[0][:40], headers={"Content-Type": "image/png"}, params=PATIENCE, timeout=100)
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/rows/0")
    assert "iVBORw0KGgo" not in stack.logs(), "an image in a log"


def test_after_kill_9_of_the_nodes_part_everything_comes_back(stack: Stack, trained: str, images: Path) -> None:
    content = (images / "0.png").read_bytes()

    def ask() -> Any:
        headers = {"Content-Type": "image/png"}
        return stack.http.post("/v1/models/digits/predict", content=content, headers=headers, params=PATIENCE, timeout=100).json()

    before = ask()["predictions"]
    (host,), models = processes(stack, "worker.predictions"), processes(stack, "trainer.predict.serve")
    assert models
    os.kill(host, signal.SIGKILL)
    until(lambda: not set(processes(stack, "trainer.predict.serve")) & set(models), within=10, what="the models' processes are gone")
    assert ask()["predictions"] == before
    assert processes(stack, "worker.predictions") not in ([], [host])


def processes(stack: Stack, word: str) -> list[int]:
    return [person.pid for person in family(stack.node.pid, everyone()) if word in person.command]

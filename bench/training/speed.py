"""The engine beside a hand-written loop: same model, batch, precision; one process, one thread; turn and turn about.

The engine's rate is what its metrics say between its first and its last logged step, so it pays for metrics, gradient norms,
agreement and progress; neither evaluates nor saves meanwhile. The text of the language model is the same for both; the
images are too.
"""

import gzip
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import spread
from bench.training.figures import Figure
from bench.training.launch import Attempt, Place

PAIRS = 15  # processes of the same program differ by 4 %, so many short ones say more than a few long ones
WITHIN = 0.98
LOG_EVERY = 5
NEVER = {"every_seconds": 86_400}
QUIET = {"every_epochs": 100_000}
IMAGE_STEPS, GPT_STEPS = 80, 200
IMAGES: dict[str, Any] = {
    "recipe": "image-classification",
    "dataset": {"path": "/data/made"},
    "model": {"family": "resnet", "depth": 8, "width": 16},
    "training": {"batch_size": 128, "max_steps": IMAGE_STEPS, "max_shift": 0, "log_every_steps": LOG_EVERY},
    "evaluation": {**QUIET, "limit_rows": 100},
    "checkpoints": NEVER,
}
GPT: dict[str, Any] = {
    "recipe": "causal-language-modeling",
    "dataset": {"path": "/data/tinyshakespeare/input.txt"},
    "data": {"tokenizer": "char", "context_length": 64, "sampling": "random"},
    "model": {"family": "gpt", "num_layers": 4, "num_heads": 4, "width": 128},
    "training": {"batch_size": 12, "max_steps": GPT_STEPS, "log_every_steps": LOG_EVERY, "beta2": 0.99, "gradient_clip": 1.0},
    "evaluation": {**QUIET, "sample_tokens": 0, "limit_rows": 1},
    "checkpoints": NEVER,
}


def image(place: Place) -> Iterator[Figure]:
    """Fashion-MNIST's first 10,000 images as arrays, which both read in the same way."""
    made = place.work / "made"
    if not made.exists():
        write_arrays(place.data / "fashion-mnist", made, num=10_000)
    place_of_made = Place(data=place.work, work=place.work / "speed", device=place.device)
    yield compare(place_of_made, IMAGES, "bare_image", {"images": str(made / "images.npy"), "labels": str(made / "labels.npy")})


def gpt(place: Place) -> Iterator[Figure]:
    text = (place.data / "tinyshakespeare" / "input.txt").read_text("utf-8")
    numbers = {character: number for number, character in enumerate(sorted(set(text)))}
    tokens = place.work / "tokens.npy"
    np.save(tokens, np.array([numbers[character] for character in text], dtype=np.uint16))
    yield compare(place, GPT, "bare_gpt", {"tokens": str(tokens)})


def compare(place: Place, spec: dict[str, Any], script: str, data: dict[str, str]) -> Figure:
    """Engine, bare, bare, engine, ...: a machine that becomes slower on the way favours neither."""
    first = place.run(spec, num_ranks=1)  # fills the cache of prepared data, and says what the model is
    settings = place.work / f"{script}.json"
    settings.write_text(json.dumps(settings_of(spec, first, data, place.device)))
    ours, bare = [], []
    for pair in range(PAIRS):
        for engine_turn in (True, False) if pair % 2 == 0 else (False, True):
            if engine_turn:
                attempt = place.run(spec, num_ranks=1)
                ours.append(steps_per_second(attempt))
                place.forget(attempt)
            else:
                bare.append(run_bare(script, settings))
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    seen = f"{spread(ratios, 3)} ({statistics.median(ours):.2f} against {statistics.median(bare):.2f} steps/s)"
    what = f"engine over a bare loop, {spec['model']['family']}, batch {spec['training']['batch_size']}, 1 process, 1 thread"
    return Figure(what, seen, f"at least {WITHIN}", statistics.median(ratios) >= WITHIN)


def settings_of(spec: dict[str, Any], attempt: Attempt, data: dict[str, str], device: str) -> dict[str, Any]:
    """All that the bare loop is told: the engine's own knobs, defaults filled in."""
    knobs = json.loads(attempt.run_dir.spec.read_text())["spec"]
    training = knobs["training"]
    wanted = ("batch_size", "learning_rate", "weight_decay", "beta2", "precision", "compile")
    return {
        **data,
        **{name: training[name] for name in wanted},
        "architecture": attempt.config()["architecture"],
        "num_steps": training["max_steps"],
        "context": knobs["data"].get("context_length"),
        "seed": 1,
        "device": device,
    }


def steps_per_second(attempt: Attempt, warm_up: int = 10) -> float:
    points = [point for point in attempt.points() if "loss" in point["values"] and point["step"] >= warm_up]
    return float((points[-1]["step"] - points[0]["step"]) / (points[-1]["at"] - points[0]["at"]))


def run_bare(script: str, settings: Path) -> float:
    program = Path(__file__).with_name(f"{script}.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    said = subprocess.run([sys.executable, str(program), str(settings)], env=environment, capture_output=True, text=True, check=False)
    if said.returncode:
        raise RuntimeError(said.stderr)
    return float(said.stdout)


def write_arrays(source: Path, folder: Path, *, num: int) -> None:
    folder.mkdir()
    with gzip.open(source / "train-images-idx3-ubyte.gz") as file:
        np.save(folder / "images.npy", np.frombuffer(file.read(16 + num * 784), np.uint8, offset=16).reshape(num, 28, 28))
    with gzip.open(source / "train-labels-idx1-ubyte.gz") as file:
        np.save(folder / "labels.npy", np.frombuffer(file.read(8 + num), np.uint8, offset=8).astype(np.int64))
    (folder / "classes.json").write_text(json.dumps([str(number) for number in range(10)]))

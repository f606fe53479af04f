"""`python -m bench.training.through_api --data DIR [NAME ...]`: every recipe on real data through the whole service, on small budgets.

Starts a ledger, a broker, the API and a node with two CPU slots, submits the jobs, downloads each package as a user would and
predicts with it; prints a row for each. It shows that the parts fit on data that nobody made for a test, not how good a model gets.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrations.run import upgrade
from tests.bed.databases import Databases
from tests.bed.servers import Servers
from tests.bed.stack import Stack

ROOT = Path(__file__).parents[2]
PATIENCE = 900.0  # seconds for one job
FIRST_LINES = 6
SHORT = {"epochs": 1, "max_steps": 60}
HALF = {"model": {"family": "conv-transformer", "subsampling": 2}, "training": SHORT}
ENCODER = {"family": "encoder", "width": 64, "num_layers": 2, "num_heads": 4}


@dataclass(frozen=True, slots=True)
class Check:
    """``data`` lies below the folder of datasets; ``ask`` is what is predicted: a file below it, or a text."""

    recipe: str
    data: str
    ask: str
    spec: dict[str, Any] = field(default_factory=dict)


IMAGES = "fashion-mnist-png-parquet/test.parquet"
CHECKS: dict[str, Check] = {
    "fashion-mnist": Check("image-classification", "fashion-mnist", IMAGES, {"training": SHORT}),
    "fashion-parquet": Check("image-classification", "fashion-mnist-png-parquet", IMAGES, {"training": SHORT}),
    "cifar10": Check("image-classification", "cifar10-subset/cifar10-subset.zip", "cifar10-subset/cifar10-subset.zip", {"training": SHORT}),
    "sst2": Check("text-classification", "sst2", "a gripping film, and a funny one", {"training": {"epochs": 2}}),
    "sst2-masked": Check("masked-language-modeling", "sst2", "a [MASK] film", {"model": ENCODER, "training": SHORT}),
    "wnut17": Check("token-classification", "wnut17", "Anna flew to Paris", {"training": SHORT}),
    "tinyshakespeare": Check(
        "causal-language-modeling", "tinyshakespeare/input.txt", "ROMEO:",
        {
            "data": {"tokenizer": "char", "context_length": 64}, "training": SHORT,
            "model": {"family": "gpt", "num_layers": 2, "num_heads": 2, "width": 64},
        },
    ),
    "penguins": Check("tabular", "penguins/penguins.csv", "penguins/penguins.csv", {"data": {"target_column": "species"}}),
    "movietweetings": Check(
        "recommendation", "movietweetings-100k", "movietweetings-100k/ratings.csv", {"training": {"epochs": 2, "batch_size": 1024}}
    ),
    "spoken-digits": Check("speech-recognition", "free-spoken-digits", "free-spoken-digits/wavs/0_george_0.wav", HALF),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training.through_api", description=__doc__.partition("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CHECKS))
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder that holds the datasets")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(CHECKS):
        sys.exit(f"no check {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
    data, servers = asked.data.resolve(), Servers()
    print(f"{'data':18} {'recipe':26} {'seconds':>8}  {'test':42} prediction", flush=True)
    try:
        with Stack(servers, Databases(servers, upgrade), node_env={"TRAINYARD_DATA_ROOTS": json.dumps([str(data)])}) as stack:
            failed = [name for name in asked.names or CHECKS if not checked(stack, name, CHECKS[name], data)]
    finally:
        servers.close()
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def checked(stack: Stack, name: str, check: Check, data: Path) -> bool:
    """Runs and prints one; whether it went well."""
    spec = {"recipe": check.recipe, "dataset": {"path": str(data / check.data)}, "name": name, "seed": 1, **check.spec}
    started = time.monotonic()
    job = stack.submit({**spec, "resources": {"devices_per_node": 2, "accelerator": "cpu"}})
    state = stack.wait_terminal(job, seconds=PATIENCE)
    seconds = time.monotonic() - started
    if state["state"] != "succeeded":
        print(f"{name:18} {check.recipe:26} {seconds:8.1f}  {state['state']}: {state['failure']}", flush=True)
        return False
    scores = {key.removeprefix("test_"): value for key, value in state["metrics"].items() if key.startswith("test_")}
    said, is_fine = predict(stack, job, data / check.ask if (data / check.ask).exists() else check.ask)
    shown = ", ".join(f"{key} {value:.3f}" for key, value in list(scores.items())[:3])
    print(f"{name:18} {check.recipe:26} {seconds:8.1f}  {shown:42} {said[:100]}", flush=True)
    return is_fine


def predict(stack: Stack, job: str, asked: Path | str) -> tuple[str, bool]:
    """What the downloaded package says first (of a .csv, its first rows), without the input; or its error, and False."""
    with tempfile.TemporaryDirectory(prefix="through-api-") as folder:
        for item in stack.artifacts(job):
            path = Path(folder) / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stack.download(job, item["path"]))
        if isinstance(asked, Path) and asked.suffix == ".csv":
            lines = asked.read_text().splitlines(keepends=True)
            asked = Path(folder, "asked.csv")
            asked.write_text("".join(lines[:FIRST_LINES]))
        command = [sys.executable, "-m", "trainer.predict", folder, str(asked), "--json"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if answer.returncode or not answer.stdout:
        return answer.stderr.strip()[-300:], False
    first = json.loads(answer.stdout.splitlines()[0])
    return json.dumps({key: value for key, value in first.items() if key not in ("input", "probabilities")}, ensure_ascii=False), True


if __name__ == "__main__":
    main()

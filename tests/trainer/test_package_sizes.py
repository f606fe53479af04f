"""Packages that ask for more memory than they have weights, or than the node lends them: refused in words, and nothing is filled."""

import json
import math
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from core.manifest import MANIFEST
from tests.trainer.packages import Packages
from tests.trainer.serving import Served
from trainer.models import build
from trainer.predict.loading import load_model, read_config
from trainer.predict.predictor import BadInput

# Of each architecture, the number that makes it as large as one likes.
GROWS: dict[str, tuple[str, int]] = {
    "tabular": ("width", 200_000),
    "image-classification": ("net.width", 20_000),
    "text-classification": ("num_layers", 10**9),
    "text-bert": ("num_hidden_layers", 10**9),
    "causal-language-modeling": ("width", 400_000),
    "causal-gpt2": ("n_positions", 10**12),
    "speech-recognition": ("num_layers", 10**9),
    "recommendation": ("num_users", 10**12),
}
TOO_LARGE = "config.json asks for a far larger model than its weights"


@pytest.mark.parametrize("name", GROWS)
def test_a_config_that_asks_for_more_than_its_weights_takes_no_memory(packages: Packages, tmp_path: Path, name: str) -> None:
    package = packages(name).folder
    load_model(package, read_config(package), "cpu")
    folder = altered(package, tmp_path, *GROWS[name])
    before = peak_bytes()
    with pytest.raises(BadInput, match=TOO_LARGE):
        load_model(folder, read_config(folder), "cpu")
    assert peak_bytes() - before < 256 << 20


def test_the_process_that_serves_says_so_and_ends(packages: Packages, tmp_path: Path) -> None:
    with Served(altered(packages("tabular").folder, tmp_path, "width", 200_000)) as served:
        assert TOO_LARGE in served.read()["failure"]
        assert served.code() == 2


def test_without_weights_nothing_is_built(packages: Packages, tmp_path: Path) -> None:
    folder = altered(packages("tabular").folder, tmp_path, "width", 200_000)
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"no whole package: it has no model\.safetensors"):
        load_model(folder, read_config(folder), "cpu")
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BadInput, match=r"the weights in model\.safetensors cannot be read"):
        load_model(folder, read_config(folder), "cpu")


@pytest.mark.parametrize("max_bytes", [1 << 30, 2 << 30])
def test_a_model_that_does_not_fit_into_its_memory_says_so(packages: Packages, tmp_path: Path, max_bytes: int) -> None:
    """Its weights are a gigabyte, all zeros, which the disk need not store: too much to map, or to map and to copy."""
    folder = altered(packages("tabular").folder, tmp_path, "width", 16_000)
    with torch.device("meta"):
        wanted = build(read_config(folder)["architecture"]).state_dict()
    write_zeros(folder / "model.safetensors", {name: list(tensor.shape) for name, tensor in wanted.items()})
    with Served(folder, "--max-bytes", str(max_bytes)) as served:
        assert served.read()["failure"] == f"it does not fit into the memory that this node lends a model: {max_bytes >> 20:,} MiB"
        assert served.code() == 2


def test_a_model_that_fits_is_served_under_its_limit(packages: Packages) -> None:
    with Served(packages("tabular").folder, "--max-bytes", str(1 << 30)).started() as served:
        assert "prediction" in served.ask([{"weight": "4.1", "age": "3", "island": "north"}])[0]


def altered(package: Path, root: Path, name: str, number: int) -> Path:
    """A copy of the package with another number in its config, and no manifest that tells."""
    folder = root / "altered"
    shutil.copytree(package, folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    target = config.get("architecture", config)
    *within, name = name.split(".")
    for part in within:
        target = target[part]
    assert name in target, target
    target[name] = number
    path.write_text(json.dumps(config))
    return folder


def write_zeros(path: Path, shapes: dict[str, list[int]]) -> None:
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

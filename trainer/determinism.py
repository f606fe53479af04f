"""Randomness and rounding under control: seeds, thread counts, algorithms, and the states that a checkpoint must hold."""

import os
import random
from typing import Any

import numpy as np
import torch

_MASK = (1 << 64) - 1


def mix(*numbers: int) -> int:
    """A 63-bit number that depends on every one of ``numbers`` and their order (SplitMix64, Steele et al. 2014)."""
    state = 0
    for number in numbers:
        state = (state ^ (number & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1


def generator(*numbers: int) -> torch.Generator:
    """A CPU generator that ``numbers`` alone determine."""
    return torch.Generator().manual_seed(mix(*numbers))


def settle(*, threads: int, deterministic: bool) -> None:
    """Fixes the number of threads, which decides how sums are split, and the choice of algorithms when asked to."""
    torch.set_num_threads(threads)
    if deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # why: read by cuBLAS when its first handle is made
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def seed_everything(seed: int) -> None:
    """Python's, NumPy's and torch's own generators, on every device."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.manual_seed(seed)


def capture_random_state(device: torch.device) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The states of all generators of this process: torch's as tensors, the others as JSON."""
    tensors = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return tensors, {
        "python": [version, list(words), gauss],
        "numpy": [name, [int(key) for key in keys], position, has_gauss, cached],
    }


def restore_random_state(device: torch.device, tensors: dict[str, torch.Tensor], others: dict[str, Any]) -> None:
    torch.set_rng_state(tensors["cpu"])
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)
    version, words, gauss = others["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = others["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))

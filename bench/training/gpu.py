"""Throughput on one GPU. The data is made up where only its shape matters, and says so."""

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import spread
from bench.training.figures import Figure
from bench.training.launch import Place
from bench.training.speed import NEVER, QUIET, run_bare, settings_of, steps_per_second

NUM_STEPS = 120
PAIRS = 3
BPE_SIZE = 50_257  # GPT-2's vocabulary; so many made-up words that a tokenizer of this size can be trained
GPT2: dict[str, Any] = {
    "recipe": "causal-language-modeling",
    "dataset": {"path": "/data/words.txt"},
    "data": {"tokenizer": "bpe", "vocabulary": BPE_SIZE, "context_length": 1024, "sampling": "random"},
    "model": {"family": "gpt", "num_layers": 12, "num_heads": 12, "width": 768},
    "training": {"batch_size": 32, "max_steps": NUM_STEPS, "precision": "bf16", "compile": True, "log_every_steps": 10},
    "evaluation": {**QUIET, "sample_tokens": 0, "limit_rows": 8},
    "checkpoints": NEVER,
}
RESNET50: dict[str, Any] = {
    "recipe": "image-classification",
    "dataset": {"path": "/data/images"},
    "model": {"family": "resnet", "depth": 50, "stem": "large"},
    "training": {"batch_size": 256, "max_steps": NUM_STEPS, "max_shift": 0, "precision": "bf16", "epochs": 100, "log_every_steps": 10},
    "evaluation": {**QUIET, "limit_rows": 256},
    "checkpoints": NEVER,
}


def gpt2(place: Place) -> Iterator[Figure]:
    """124 M parameters, context 1,024, bf16, compiled, on a made-up text of made-up words."""
    work = Place(data=place.work, work=place.work / "gpt2", device="cuda")
    write_words(place.work / "words.txt")
    attempt = work.run(GPT2, num_ranks=1)
    # The first points are the compiler's.
    rates, mfu = attempt.series("tokens_per_second")[3:], attempt.series("mfu")[3:]
    size = attempt.config()["num_parameters"]
    seen = f"{statistics.median(rates):,.0f} tokens/s"
    what = f"GPT-2 of {size / 1e6:.0f} M parameters, bf16, compiled, context 1,024"
    yield Figure(what, seen, "", None, attempt.training_seconds, attempt.cpu_seconds)
    used = f"{100 * statistics.median(mfu):.1f} %" if mfu else "the peak of this device is not known"
    yield Figure("model FLOPs utilisation there", used, "", None)


def resnet50(place: Place) -> Iterator[Figure]:
    """2,048 made-up images of 224 x 224."""
    work = Place(data=place.work, work=place.work / "resnet50", device="cuda")
    folder = place.work / "images"
    write_images(folder)
    first = work.run(RESNET50, num_ranks=1)
    settings = work.work / "bare_image.json"
    data = {"images": str(folder / "images.npy"), "labels": str(folder / "labels.npy")}
    settings.write_text(json.dumps(settings_of(RESNET50, first, data, "cuda")))
    batch_size = RESNET50["training"]["batch_size"]
    pairs = [(steps_per_second(work.run(RESNET50, num_ranks=1)), run_bare("bare_image", settings)) for _ in range(PAIRS)]
    ours, ratios = statistics.median(ours for ours, _ in pairs), [ours / bare for ours, bare in pairs]
    seen = f"{ours * batch_size:,.0f} images/s, {spread(ratios, 3)} of a bare loop"
    yield Figure("ResNet-50, bf16, 224 x 224", seen, "at least 0.98", statistics.median(ratios) >= 0.98)


def write_words(path: Path, *, num_words: int = 3_000_000) -> None:
    """Words of four syllables, the frequent ones more frequent, as Zipf found."""
    random = np.random.default_rng(0)
    syllables = np.array([a + b for a in "bdfgklmnprstvz" for b in "aeiou"])
    ranks = np.minimum(random.zipf(1.2, num_words), 1_000_000).astype(np.int64)
    words = ["".join(syllables[(rank * 7919 >> shift) % len(syllables)] for shift in (0, 3, 7, 11)) for rank in ranks.tolist()]
    lines = (" ".join(words[start : start + 20]) for start in range(0, num_words, 20))
    path.write_text("\n".join(lines))


def write_images(folder: Path, *, num: int = 2048, size: int = 224) -> None:
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    np.save(folder / "images.npy", random.integers(0, 256, (num, size, size, 3), dtype=np.uint8))
    np.save(folder / "labels.npy", np.arange(num, dtype=np.int64) % 10)
    (folder / "classes.json").write_text(json.dumps([str(number) for number in range(10)]))

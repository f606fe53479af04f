"""Fills and seals the folder of a package."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.manifest import seal
from core.run_dir import write_atomically
from trainer.data.cache import content_digest, known_digest
from trainer.package.card import card
from trainer.package.contents import Package
from trainer.package.export import export_program
from trainer.package.tables import write_confusion, write_predictions
from trainer.state import Run, State
from trainer.tasks.task import Tested

MAX_LISTED_CLASSES = 200  # a larger confusion matrix is in confusion.csv alone
MAX_DIGESTED_BYTES = 1 << 30  # a second of reading


def write_package(run: Run, model: nn.Module, state: State, tested: Tested, package: Package) -> None:
    """Rank 0 alone. ``run.dir.artifacts`` has ``model.safetensors`` already; ``model`` is plain, on the CPU, in eval mode.

    Raises ExportDiffers when the exported program computes something else, OSError when the disk refuses. The manifest
    is the last file: a folder without one is not a package.
    """
    folder = run.dir.artifacts
    package = replace(package, data_report=with_digest(run, package.data_report))
    metrics = summarise(run, state, tested, package)
    if package.files is not None:
        package.files(folder)
    if package.config is not None:
        write_atomically(folder / "config.json", package.config)
    if package.export is not None:
        export_program(model, package.export, folder / "model.pt2")
    write_atomically(folder / "metrics.json", metrics)
    write_atomically(folder / "data_report.json", package.data_report)
    if package.predictions:
        write_predictions(folder / "predictions.csv", package.predictions)
    if package.confusion is not None:
        write_confusion(folder / "confusion.csv", package.confusion)
    plots = _drawing()(run.dir.metrics, package.confusion, folder / "plots")
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    text = card(run, package, metrics, num_parameters=num_parameters, plots=plots)
    (folder / "README.md").write_text(text, "utf-8")
    seal(folder, {"recipe": run.file.spec.recipe, "step": state.step, "test": metrics["test"], "torch": torch.__version__})


def summarise(run: Run, state: State, tested: Tested, package: Package) -> dict[str, Any]:
    """The contents of metrics.json: what every recipe has, then what this one adds."""
    best = state.best
    common: dict[str, Any] = {
        "test": {**tested.score.metrics, "num_rows": tested.score.num_rows},
        "validation": {**best.score.metrics, "num_rows": best.score.num_rows} if best else None,
        "best": {"step": best.step, "epoch": best.epoch + 1} if best else None,
        "num_steps": state.step,
        "num_epochs": state.epoch,
        "training_seconds": state.seconds,
        "device_seconds": state.seconds * run.ranks.world_size,
    }
    if package.confusion is not None and len(package.confusion[0]) <= MAX_LISTED_CLASSES:
        labels, counts = package.confusion
        common["confusion"] = {"rows": "label", "columns": "prediction", "labels": labels, "counts": counts.tolist()}
    return {**common, **tested.more, **package.metrics}


def with_digest(run: Run, report: dict[str, Any]) -> dict[str, Any]:
    """The report with the SHA-256 of the dataset, which says whether another one is the same. Very large ones are not read for it."""
    digest = known_digest(run)
    if digest is None and run.file.data_dir is not None and num_bytes(Path(run.file.data_dir)) <= MAX_DIGESTED_BYTES:
        digest = content_digest(Path(run.file.data_dir))
    return report if digest is None else {**report, "digest": digest}


def num_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in ([root] if root.is_file() else root.rglob("*")) if path.is_file())


def _drawing() -> Callable[..., list[Path]]:
    drawing = importlib.import_module("trainer.package.plots")  # matplotlib takes 0.4 s, which no first step should wait for
    draw: Callable[..., list[Path]] = drawing.draw_plots
    return draw

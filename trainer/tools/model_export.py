"""model-export: a packaged model as a program that runs without this software, compared with it before anyone gets it."""

import shutil
from pathlib import Path

import torch

from core.manifest import MANIFEST, seal
from core.recipes.model_export import ModelExportSpec
from core.run_dir import write_atomically
from core.states import Phase
from trainer.data.findings import placed
from trainer.errors import InvalidData
from trainer.predict.predictor import BadInput, Predictor, Record
from trainer.predict.rows import rows_of
from trainer.signs_of_life import signs_of_life
from trainer.state import Run
from trainer.tools.batches import each_or_problem
from trainer.tools.exports import find_exporter
from trainer.tools.exports.trial import Trial
from trainer.tools.packaged import open_predictor, storing

# Of a package: weights, which the export has in its own form, and what tells about its training.
LEFT_BEHIND = (
    *("model.safetensors", "model.pt2", "model.onnx", "export.json", MANIFEST),
    *("README.md", "metrics.json", "predictions.csv", "confusion.csv", "data_report.json", "samples.jsonl"),
)


def export(run: Run) -> dict[str, float] | None:
    """Leaves the program or folder, what of the package prepares its inputs, and ``export.json``. On the CPU, whatever the device."""
    spec = run.file.spec
    assert isinstance(spec, ModelExportSpec)
    predictor = open_predictor(run, device="cpu")
    run.report.progress(phase=Phase.PACKAGING)
    folder = run.dir.artifacts
    trial = Trial(predictor, spec.model, folder, rows_to_try(run, predictor, spec.model.num_rows))
    with storing(), signs_of_life(run):
        copy_beside(predictor.folder, folder)
        find_exporter(spec.model.format)(trial)
    if run.stop.asked:
        return None
    with storing():
        num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        metrics = {"num_rows": float(len(trial.records)), "max_error": trial.max_error, "export_bytes": float(num_bytes)}
        told = {"format": spec.model.format, "recipe": predictor.config["recipe"], "rows": "package" if spec.dataset is None else "dataset"}
        proof = {
            "num_rows": len(trial.records),
            "max_error": trial.max_error,
            "tolerance": spec.model.tolerance,
            "torch": torch.__version__,
        }
        write_atomically(folder / "export.json", {**told, **proof, **trial.facts})
        seal(folder, {"recipe": spec.recipe, **told})
    run.report.points(0, metrics)
    run.report.line(f"{spec.model.format}: differs by {trial.max_error:.2g} at most on {len(trial.records)} rows")
    return metrics


def rows_to_try(run: Run, predictor: Predictor, num: int) -> list[Record]:
    """The first rows of the dataset that can be used; without one those that the package gives."""
    try:
        if run.file.data_dir is None:
            return list(predictor.made_up(num))
        predictor.axes()  # says whether there is anything to export
    except BadInput as error:
        raise InvalidData([str(error)]) from None
    found: list[Record] = []
    problems: list[str] = []
    for row in rows_of(Path(run.file.data_dir), predictor):
        ((_, prepared, problem),) = each_or_problem(lambda records: [predictor.prepare(records)], [row])
        if prepared is not None:
            found.append(row.record)
        elif len(problems) < num:
            problems.append(placed(str(problem), row.file, row.row, None))
        if len(found) == num:
            break
    if not found:
        raise InvalidData(["no row of the dataset can be used", *problems])
    return found


def copy_beside(source: Path, target: Path) -> None:
    """What prepares inputs and names outputs: config.json, tokenizers, vocabularies."""
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.is_symlink() and path.name not in LEFT_BEHIND and path.suffix != ".safetensors":
            shutil.copyfile(path, target / path.name)
    if (source / "seen.safetensors").is_file():
        shutil.copyfile(source / "seen.safetensors", target / "seen.safetensors")

"""batch-prediction: a dataset through a packaged model, row by row in its order, with no more of it in memory than a batch."""

import time

import torch

from core.manifest import seal
from core.recipes.batch_prediction import BatchPredictionSpec
from core.run_dir import write_atomically
from core.states import Phase
from trainer.data.findings import Findings
from trainer.errors import InvalidData
from trainer.predict.predictor import Predictor
from trainer.predict.rows import rows_of
from trainer.state import Run
from trainer.tasks.task import dataset_of
from trainer.tools.batches import batches_of, each_or_problem
from trainer.tools.packaged import open_predictor, storing
from trainer.tools.prediction_file import PredictionFile

TOLD_EVERY_SECONDS = 5.0


def predict(run: Run) -> dict[str, float] | None:
    """Leaves ``predictions.<format>``, ``data_report.json`` and ``metrics.json``. InvalidData when no row can be used."""
    spec = run.file.spec
    assert isinstance(spec, BatchPredictionSpec)
    predictor = open_predictor(run)
    predictor.batch_size = spec.evaluation.batch_size
    run.report.progress(phase=Phase.EVALUATING)
    findings = Findings()
    with storing():
        file = PredictionFile(run.dir.artifacts, spec.evaluation.format, run.dir.scratch)
        try:
            metrics = _predict_all(run, spec, predictor, file, findings)
        finally:
            file.close()
        if metrics is None:
            return None
        run.report.progress(phase=Phase.PACKAGING)
        file.finish()
        write_atomically(run.dir.artifacts / "data_report.json", findings.report())
        write_atomically(run.dir.artifacts / "metrics.json", metrics)
        seal(run.dir.artifacts, {"recipe": spec.recipe, "predictions": file.path.name, "model": predictor.config["recipe"]})
    return metrics


def _predict_all(
    run: Run, spec: BatchPredictionSpec, predictor: Predictor, file: PredictionFile, findings: Findings
) -> dict[str, float] | None:
    started = told = time.monotonic()
    num_rows = 0
    for batch in batches_of(rows_of(dataset_of(run), predictor), spec.evaluation.batch_size):
        if run.stop.asked:
            return None
        with torch.inference_mode():
            for row, answer, problem in each_or_problem(predictor.answer, batch):
                if problem is not None:
                    findings.bad_row(problem, **row.where)
                if problem is None or spec.data.on_bad_rows == "report":
                    file.add({"file": row.file, "row": row.row, **(answer or {}), **({"error": problem} if problem is not None else {})})
        num_rows += len(batch)
        run.report.progress(step=num_rows)
        if time.monotonic() - told > TOLD_EVERY_SECONDS:
            told = time.monotonic()
            run.report.points(num_rows, {"num_rows": num_rows, "rows_per_second": num_rows / (told - started)})
    if not num_rows:
        raise InvalidData(["the dataset has no rows"])
    findings.settle("fail" if spec.data.on_bad_rows == "fail" or findings.num_bad_rows == num_rows else "drop")
    speed = num_rows / max(time.monotonic() - started, 1e-9)
    metrics = {"num_rows": float(num_rows), "num_bad_rows": float(findings.num_bad_rows), "rows_per_second": speed}
    run.report.points(num_rows, metrics)
    run.report.line(f"{num_rows:,} rows, {findings.num_bad_rows:,} of them bad, {speed:,.0f} rows a second")
    return metrics

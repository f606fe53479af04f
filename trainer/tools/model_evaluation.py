"""model-evaluation: a packaged model scored on labelled rows, by what its recipe's own test is scored by."""

import time

from core.manifest import seal
from core.recipes.model_evaluation import ModelEvaluationSpec
from core.run_dir import write_atomically
from core.states import Phase
from trainer.state import Run
from trainer.tasks.task import dataset_of
from trainer.tools.packaged import open_predictor, storing
from trainer.tools.prediction_file import PredictionFile
from trainer.tools.scorers import find_scorer
from trainer.tools.scorers.scorer import Scoring


def evaluate(run: Run) -> dict[str, float] | None:
    """Leaves ``metrics.json``, ``data_report.json`` and, where rows are scored one by one, ``predictions.csv``."""
    spec = run.file.spec
    assert isinstance(spec, ModelEvaluationSpec)
    scoring = Scoring(run, spec, open_predictor(run))
    recipe = scoring.predictor.config["recipe"]
    scorer = find_scorer(recipe)(scoring)
    run.report.progress(phase=Phase.EVALUATING)
    started = time.monotonic()
    with storing():
        file = PredictionFile(run.dir.artifacts, "csv", run.dir.scratch)
        try:
            scored = scorer.score(dataset_of(run), file)
        finally:
            file.close()
        if scored is None:
            return None
        scores, num_rows = scored
        speed = num_rows / max(time.monotonic() - started, 1e-9)
        metrics = {**scores, "num_rows": float(num_rows), "num_bad_rows": float(scoring.findings.num_bad_rows), "rows_per_second": speed}
        run.report.points(num_rows, metrics)
        run.report.scores(f"the model on {num_rows:,} rows", scores)
        run.report.progress(phase=Phase.PACKAGING)
        file.finish()
        write_atomically(run.dir.artifacts / "metrics.json", {**metrics, "split": spec.data.split, "recipe": recipe, **scorer.details()})
        write_atomically(run.dir.artifacts / "data_report.json", scoring.findings.report())
        seal(run.dir.artifacts, {"recipe": spec.recipe, "model": recipe, "scores": scores})
    return metrics

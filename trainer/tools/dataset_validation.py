"""dataset-validation: leaves ``profile.json``, ``report.html`` and ``plots/*.svg``; an invalid dataset is a result, not a failure."""

from pathlib import Path

from core.manifest import seal
from core.profile import PROFILE, REPORT
from core.recipes.dataset_validation import DatasetValidationSpec
from core.run_dir import write_atomically
from core.states import Phase
from trainer.errors import BadRunFile, StorageFailed
from trainer.profile.plots import draw
from trainer.profile.profiling import profile_dataset
from trainer.profile.report import render
from trainer.state import Run
from trainer.tools.telling import StopAsked, teller


def validate(run: Run) -> dict[str, float] | None:
    """The metrics of the recipe; None when it was asked to stop."""
    spec = run.file.spec
    if not isinstance(spec, DatasetValidationSpec) or run.file.data_dir is None:
        raise BadRunFile("a validation needs a dataset")
    try:
        profile = profile_dataset(Path(run.file.data_dir), spec.data, teller(run))
    except StopAsked:
        return None
    metrics = {
        "valid": float(profile.valid),
        "num_rows": float(profile.num_rows),
        "num_findings": float(profile.num_findings),
        "num_warnings": float(len(profile.warnings)),
    }
    run.report.points(0, metrics)
    run.report.progress(phase=Phase.PACKAGING)
    folder = run.dir.artifacts
    try:
        plots = draw(profile, folder / "plots")
        (folder / REPORT).write_text(render(profile, plots), "utf-8")
        write_atomically(folder / PROFILE, profile)
        seal(folder, {"recipe": spec.recipe, "valid": profile.valid})
    except OSError as error:
        raise StorageFailed(f"the profile could not be written: {error}") from error
    run.report.line(f"{profile.format}: {'valid' if profile.valid else 'invalid'}, {profile.num_findings:,} findings")
    return metrics

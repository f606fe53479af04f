"""dataset-preparation: leaves the new dataset below ``data/`` and ``preparation.json``; nothing when a step cannot be done."""

import shutil
from collections.abc import Callable
from pathlib import Path

from core.manifest import seal
from core.preparation import DATA, PREPARATION, Preparation, StepDone
from core.recipes.dataset_preparation import DatasetPreparationSpec, FixEncoding
from core.run_dir import write_atomically
from core.states import Phase
from trainer.errors import BadRunFile, InvalidData, StorageFailed
from trainer.prepare.checking import check_steps, place
from trainer.prepare.reading import ImageSource, TableSource, fix_encoding, read_source
from trainer.prepare.running import run_on_images, run_on_table
from trainer.prepare.writing import check_names, copy_beside, names_of, still_named, write_frame, write_images
from trainer.state import Run
from trainer.tools.telling import StopAsked, Tell, teller

Write = Callable[[Path], dict[str, int]]


def prepare(run: Run) -> dict[str, float] | None:
    """The metrics of the recipe; None when it was asked to stop. Raises InvalidData, and leaves nothing then."""
    spec = run.file.spec
    if not isinstance(spec, DatasetPreparationSpec) or run.file.data_dir is None:
        raise BadRunFile("a preparation needs a dataset")
    root, scratch, target = Path(run.file.data_dir), run.dir.scratch / "utf8", run.dir.artifacts / DATA
    try:
        done = transform(root, spec, scratch=scratch, target=target, tell=teller(run))
        run.report.progress(phase=Phase.PACKAGING)
        write_atomically(run.dir.artifacts / PREPARATION, done)
        seal(run.dir.artifacts, {"recipe": spec.recipe, "rows": done.rows_out})
    except StopAsked:
        return None
    except OSError as error:
        raise StorageFailed(f"the dataset could not be written: {error}") from error
    metrics = {"rows_in": float(done.rows_in), "rows_out": float(done.rows_out)}
    run.report.points(0, metrics)
    run.report.line(f"{done.rows_in:,} rows became {done.rows_out:,}")
    return metrics


def transform(root: Path, spec: DatasetPreparationSpec, *, scratch: Path, target: Path, tell: Tell) -> Preparation:
    """Reads, checks all steps, does them, and only then writes below ``target``; of what fails there nothing stays."""
    steps = spec.data.steps
    recoded: dict[str, str] = {}
    if isinstance(steps[0], FixEncoding):
        root, recoded = _recoded(root, steps[0], scratch)
    source = read_source(root, spec.data.on_bad_rows)
    check_steps(steps, source)
    if isinstance(source, TableSource):
        kind, rows_in, num_left_out = source.suffix.removeprefix("."), source.frame.num_rows, source.num_left_out
        told, write = _table(source, spec, tell)
    else:
        kind, rows_in, num_left_out = "image-folder", len(source.listing), 0
        told, write = _images(source, spec, tell)
    if recoded:
        told[0] = told[0].model_copy(update={"num_changed": len(recoded), "fitted": {"files": recoded}})
    target.mkdir(parents=True, exist_ok=True)
    try:
        splits = write(target)
    except (StopAsked, InvalidData):  # an image may prove unreadable while it is written
        shutil.rmtree(target, ignore_errors=True)
        raise
    return Preparation(
        format=kind,
        seed=spec.seed,
        rows_in=rows_in,
        rows_out=sum(splits.values()),
        splits=splits,
        num_rows_left_out=num_left_out,
        steps=told,
        spec=[step.model_dump(mode="json") for step in steps],
    )


def _recoded(root: Path, step: FixEncoding, scratch: Path) -> tuple[Path, dict[str, str]]:
    try:
        return fix_encoding(root, step, scratch)
    except InvalidData as error:
        raise InvalidData([f"{place(0, step)}: {problem}" for problem in error.problems]) from None


def _table(source: TableSource, spec: DatasetPreparationSpec, tell: Tell) -> tuple[list[StepDone], Write]:
    frame, told = run_on_table(source.frame, spec.data.steps, seed=spec.seed, tell=tell)
    others = still_named(source.frame, frame, source.beside)
    check_names(list(others))

    def write(folder: Path) -> dict[str, int]:
        copy_beside(others, folder)
        return write_frame(frame, source.suffix, folder)

    return told, write


def _images(source: ImageSource, spec: DatasetPreparationSpec, tell: Tell) -> tuple[list[StepDone], Write]:
    entries, told = run_on_images(source.listing, spec.data.steps, seed=spec.seed, tell=tell)
    names = names_of(entries, source.listing)
    check_names(names)
    return told, lambda folder: write_images(dict(zip(names, entries, strict=True)), source.listing, folder, tell)

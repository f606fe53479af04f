"""dataset-preparation: leaves the new dataset below ``data/`` and ``preparation.json``; nothing when a step cannot be done."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from core.manifest import seal
from core.preparation import DATA, PREPARATION, Preparation, StepDone
from core.recipes.dataset_preparation import DatasetPreparationSpec, FixEncoding
from core.run_dir import write_atomically
from core.states import Phase
from trainer.data.findings import Findings
from trainer.errors import BadRunFile, InvalidData, StorageFailed
from trainer.prepare.checking import asks_for_sounds, check_steps, place
from trainer.prepare.encoding import fix_encoding
from trainer.prepare.reading import ImageSource, RowSource, read_source
from trainer.prepare.running import Given, run_on_images, run_on_rows
from trainer.prepare.tables import without_rows
from trainer.prepare.unpacking import without_archive
from trainer.prepare.writing_images import check_images, write_images
from trainer.prepare.writing_rows import check_rows, write_rows
from trainer.signs_of_life import signs_of_life
from trainer.state import Run
from trainer.tools.telling import Pace, StopAsked, Tell, teller

Write = Callable[[Path], dict[str, int]]


def prepare(run: Run) -> dict[str, float] | None:
    """The metrics of the recipe; None when it was asked to stop. Raises InvalidData, and leaves nothing then."""
    spec = run.file.spec
    if not isinstance(spec, DatasetPreparationSpec) or run.file.data_dir is None:
        raise BadRunFile("a preparation needs a dataset")
    root, scratch, target = Path(run.file.data_dir), run.dir.scratch, run.dir.artifacts / DATA
    try:
        with signs_of_life(run):
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
    steps, pace = spec.data.steps, Pace(tell)
    recoded: dict[str, str] = {}
    root = without_archive(root, scratch / "unpacked", pace.tick)
    if isinstance(steps[0], FixEncoding):
        root, recoded = _recoded(root, steps[0], scratch / "utf8", pace)
    source = read_source(root, spec.data.on_bad_rows, scratch=scratch, tick=pace.tick)
    check_steps(steps, source)
    if isinstance(source, RowSource):
        source = _heard(source, spec) if asks_for_sounds(steps) else source
        kind, rows_in, num_left_out = source.described.format, source.frame.num_rows, source.num_left_out
        told, write = _rows(source, spec, pace)
    else:
        kind, rows_in, num_left_out = source.described.format, len(source.listing), 0
        told, write = _images(source, spec, pace)
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


def _recoded(root: Path, step: FixEncoding, scratch: Path, pace: Pace) -> tuple[Path, dict[str, str]]:
    try:
        return fix_encoding(root, step, scratch, pace.tick)
    except InvalidData as error:
        raise InvalidData([f"{place(0, step)}: {problem}" for problem in error.problems]) from None


def _heard(source: RowSource, spec: DatasetPreparationSpec) -> RowSource:
    """Without the rows whose recordings cannot be used, when the spec goes on without them."""
    if source.sounds is None:
        return source
    findings = Findings()
    bad = source.sounds.hear_all(source.frame, source.places, findings)
    findings.settle(spec.data.on_bad_rows)
    frame, places = without_rows(source.frame, source.places, bad)
    return replace(source, frame=frame, places=places, num_left_out=source.num_left_out + len(bad))


def _rows(source: RowSource, spec: DatasetPreparationSpec, pace: Pace) -> tuple[list[StepDone], Write]:
    assert source.described.form is not None
    given = Given(source.described.form, sounds=source.sounds)
    frame, told = run_on_rows(source.frame, spec.data.steps, given, seed=spec.seed, tell=pace.at)
    others = check_rows(source, frame)
    pace.at(len(told), len(told))
    return told, lambda folder: write_rows(source, frame, others, folder, pace.tick)


def _images(source: ImageSource, spec: DatasetPreparationSpec, pace: Pace) -> tuple[list[StepDone], Write]:
    entries, told = run_on_images(source.listing, spec.data.steps, seed=spec.seed, tell=pace.at)
    check_images(entries, source)
    return told, lambda folder: write_images(entries, source, folder, pace.at)

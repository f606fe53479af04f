"""All steps looked at before the first is done: what cannot apply is said at once, with the place of the step."""

from collections.abc import Iterator, Sequence
from typing import Any

from core.recipes.dataset_preparation import (
    Augment,
    Balance,
    ClipOutliers,
    DropDuplicates,
    DropMissing,
    FixEncoding,
    Impute,
    MapColumns,
    Normalise,
    Sample,
    Split,
)
from core.spec import Section
from trainer.data.table import listed
from trainer.errors import InvalidData
from trainer.prepare.frame import problem_of_numbers
from trainer.prepare.reading import ImageSource, Source, TableSource

FOR_IMAGES = (DropDuplicates, Split, Sample, Balance, Augment)
LABEL = "label"  # what the folder of an image may be called in a step


def check_steps(steps: Sequence[Section], source: Source) -> None:
    """Raises InvalidData."""
    problems = list(_of_images(steps) if isinstance(source, ImageSource) else _of_table(steps, source))
    if problems:
        raise InvalidData(problems)


def place(number: int, step: Any) -> str:
    """``number`` counts from 0, as JSON pointers do."""
    return f"/data/steps/{number} ({step.do})"


def _of_images(steps: Sequence[Section]) -> Iterator[str]:
    for number, step in enumerate(steps):
        problem = _problem_with_images(step)
        if problem is not None:
            yield f"{place(number, step)}: {problem}"


def _problem_with_images(step: Section) -> str | None:
    if not isinstance(step, FOR_IMAGES):
        return "it is for tables, and this is a set of images"
    if isinstance(step, Augment) and step.images is None:
        return "these are images, and it says what to do with texts"
    if isinstance(step, Split) and step.by in ("group", "time"):
        return f"images in folders have no column to split by {step.by}"
    strangers = [name for name in _columns_of(step) if name != LABEL]
    return f"images in folders have no column {strangers[0]!r}, only {LABEL}" if strangers else None


def _of_table(steps: Sequence[Section], source: TableSource) -> Iterator[str]:
    """Follows the names through the steps. ``origin``: the column of the source that each name means; None when a step filled in text."""
    origin: dict[str, str | None] = {name: name for name in source.frame.table.column_names}
    for number, step in enumerate(steps):
        if isinstance(step, Augment) and step.images is not None:
            yield f"{place(number, step)}: this is a table, and it says what to do with images"
        for name in dict.fromkeys(_columns_of(step)):
            if name not in origin:
                yield f"{place(number, step)}: there is no column {name!r}; the columns are {listed(origin)}"
            elif _needs_numbers(step):
                problem = _not_numbers(name, origin[name], source)
                if problem is not None:
                    yield f"{place(number, step)}: {problem}"
        for problem in _problems_of(step, source, origin):
            yield f"{place(number, step)}: {problem}"
        origin = _after(step, origin)


def _columns_of(step: Section) -> list[str]:
    """Every column that a step names."""
    if isinstance(step, DropDuplicates | DropMissing | Impute | ClipOutliers | Normalise):
        return list(step.columns or ())
    if isinstance(step, MapColumns):
        return [*(step.keep or ()), *(step.drop or ()), *step.rename]
    named = {Split: "column", Sample: "stratified_by", Balance: "label"}.get(type(step))
    if named is not None:
        name = getattr(step, named)
        return [] if name is None else [name]
    return [step.text.column] if isinstance(step, Augment) and step.text is not None else []


def _needs_numbers(step: Section) -> bool:
    return isinstance(step, ClipOutliers | Normalise) or (isinstance(step, Impute) and step.by in ("mean", "median"))


def _not_numbers(name: str, origin: str | None, source: TableSource) -> str | None:
    if origin is None:
        return f"column {name!r} was given a text before, and it is for numbers"
    return problem_of_numbers(name, source.frame.cells(origin))


def _problems_of(step: Section, source: TableSource, origin: dict[str, str | None]) -> Iterator[str]:
    if isinstance(step, Split) and step.by != "ratio" and step.column is None:
        yield f"split by {step.by} needs a column"
    if isinstance(step, Balance) and step.label is None:
        yield "label names the column of classes; of a table it must be given"
    if isinstance(step, FixEncoding) and source.suffix in (".parquet", ".pq"):
        yield "parquet has no encoding to fix"
    if isinstance(step, Augment) and step.text is not None and step.text.column in origin:
        cells = source.frame.cells(origin[step.text.column] or step.text.column) if origin[step.text.column] else []
        if any(not isinstance(cell, str) and cell is not None for cell in cells):
            yield f"column {step.text.column!r} holds no texts"
    if isinstance(step, MapColumns):
        yield from _problems_of_names(step, origin)


def _problems_of_names(step: MapColumns, origin: dict[str, str | None]) -> Iterator[str]:
    left = [name for name in origin if name not in (step.drop or ())] if step.keep is None else list(step.keep)
    if not left:
        yield "no column is left"
    gone = [name for name in step.rename if name in origin and name not in left]
    if gone:
        yield f"it renames {listed(gone)}, which it leaves out"
    after = [step.rename.get(name, name) for name in left]
    twice = sorted({name for name in after if after.count(name) > 1})
    if twice:
        yield f"two columns would be called {listed(twice)}"


def _after(step: Section, origin: dict[str, str | None]) -> dict[str, str | None]:
    if isinstance(step, MapColumns):
        left = [name for name in origin if name not in (step.drop or ())] if step.keep is None else [n for n in step.keep if n in origin]
        return {step.rename.get(name, name): origin[name] for name in left}
    if isinstance(step, Impute) and isinstance(step.value, str) and problem_of_numbers("", [step.value]) is not None:
        return {name: None if name in step.columns else before for name, before in origin.items()}
    return origin

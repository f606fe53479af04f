"""All steps looked at before the first is done: what cannot apply is said at once, with the place of the step."""

from collections.abc import Iterator, Sequence
from typing import Any

from core.recipes.dataset_preparation import Augment, ClipOutliers, DropByLength, DropDuplicates, Impute, MapColumns, MapTags, Normalise
from core.recipes.preparable import columns_of, problems_of, renamed
from core.spec import Section
from trainer.errors import InvalidData
from trainer.prepare.frame import problem_of_numbers
from trainer.prepare.reading import RowSource, Source
from trainer.prepare.tags import tags_column, types_after, types_in

Origin = dict[str, str | None]  # the column of the source that each name means; None when a step filled in text


def check_steps(steps: Sequence[Section], source: Source) -> None:
    """Raises InvalidData."""
    found = [*(_by_cells(steps, source) if isinstance(source, RowSource) else ()), *problems_of(steps, source.described)]
    if found:
        raise InvalidData([f"{place(number, steps[number])}: {problem}" for number, problem in sorted(found, key=lambda pair: pair[0])])


def place(number: int, step: Any) -> str:
    """``number`` counts from 0, as JSON pointers do."""
    return f"/data/steps/{number} ({step.do})"


def asks_for_sounds(steps: Sequence[Section]) -> bool:
    """Whether a step listens to the recordings that rows name."""
    return any(
        (isinstance(step, DropDuplicates) and step.columns is None)
        or (isinstance(step, DropByLength) and step.unit == "seconds")
        or (isinstance(step, Augment) and step.audio is not None)
        for step in steps
    )


def _by_cells(steps: Sequence[Section], source: RowSource) -> Iterator[tuple[int, str]]:
    """What the cells say of the steps that need numbers, texts or tags; names are followed through the steps."""
    origin: Origin = {name: name for name in source.frame.names}
    types: set[str] | None = None
    for number, step in enumerate(steps):
        for name in dict.fromkeys(columns_of(step)):
            problem = _not_numbers(name, origin, source) if _needs_numbers(step) else None
            if problem is not None:
                yield number, problem
        if isinstance(step, Augment) and step.text is not None and not _holds_texts(step.text.column, origin, source):
            yield number, f"column {step.text.column!r} holds no texts"
        if isinstance(step, MapTags) and source.described.has_tags is not False:
            try:
                types = _types_of(source) if types is None else types
                types = types_after(step, types)
            except InvalidData as error:
                yield number, error.problems[0]
        origin = _after(step, origin)


def _needs_numbers(step: Section) -> bool:
    return isinstance(step, ClipOutliers | Normalise) or (isinstance(step, Impute) and step.by in ("mean", "median"))


def _not_numbers(name: str, origin: Origin, source: RowSource) -> str | None:
    if name not in origin:
        return None
    before = origin[name]
    if before is None:
        return f"column {name!r} was given a text before, and it is for numbers"
    return problem_of_numbers(name, source.frame.cells(before), source.places.named)


def _holds_texts(name: str, origin: Origin, source: RowSource) -> bool:
    before = origin.get(name)
    return before is None or all(isinstance(cell, str) or cell is None for cell in source.frame.cells(before))


def _types_of(source: RowSource) -> set[str]:
    return types_in(source.frame.cells(tags_column(source.frame)))


def _after(step: Section, origin: Origin) -> Origin:
    if isinstance(step, MapColumns):
        return {name: origin.get(before) for name, before in renamed(step, list(origin)).items()}
    if isinstance(step, Impute) and isinstance(step.value, str) and problem_of_numbers("", [step.value]) is not None:
        return {name: None if name in step.columns else before for name, before in origin.items()}
    return origin

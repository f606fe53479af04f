"""The steps of a preparation done one after the other, on a table or on images."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from core.preparation import StepDone
from core.recipes.dataset_preparation import Balance, Sample, Split
from trainer.data.cells import is_missing
from trainer.data.images.listing import Listing
from trainer.determinism import mix
from trainer.errors import InvalidData
from trainer.prepare import images
from trainer.prepare.checking import place
from trainer.prepare.choosing import balanced_rows, sample_rows, split_parts
from trainer.prepare.cleaning import drop_duplicates, drop_missing, impute
from trainer.prepare.frame import Done, Frame, categories_of, plain
from trainer.prepare.images import Entries
from trainer.prepare.rewording import augment_texts, map_columns
from trainer.prepare.scaling import clip_outliers, normalise
from trainer.tools.telling import Tell

ON_TABLES: dict[str, Callable[[Frame, Any, int], Done]] = {
    "drop_duplicates": lambda frame, step, seed: drop_duplicates(frame, step),
    "fix_encoding": lambda frame, step, seed: Done(frame),  # done before the table was read
    "drop_missing": lambda frame, step, seed: drop_missing(frame, step),
    "impute": lambda frame, step, seed: impute(frame, step),
    "clip_outliers": lambda frame, step, seed: clip_outliers(frame, step),
    "normalise": lambda frame, step, seed: normalise(frame, step),
    "split": lambda frame, step, seed: split(frame, step, seed=seed),
    "sample": lambda frame, step, seed: sample(frame, step, seed=seed),
    "balance": lambda frame, step, seed: balance(frame, step, seed=seed),
    "augment": lambda frame, step, seed: augment_texts(frame, step, seed=seed),
    "map_columns": lambda frame, step, seed: map_columns(frame, step),
}
ON_IMAGES: dict[str, Callable[[Entries, Listing, Any, int], Entries]] = {
    "drop_duplicates": lambda entries, listing, step, seed: images.drop_duplicates(entries, listing),
    "split": lambda entries, listing, step, seed: images.split(entries, step, seed=seed),
    "sample": lambda entries, listing, step, seed: images.sample(entries, step, seed=seed),
    "balance": lambda entries, listing, step, seed: images.balance(entries, step, seed=seed),
    "augment": lambda entries, listing, step, seed: images.augment(entries, step, seed=seed),
}


def run_on_table(frame: Frame, steps: Sequence[Any], *, seed: int, tell: Tell) -> tuple[Frame, list[StepDone]]:
    """InvalidData says which step could not be done."""
    told = []
    for number, step in enumerate(steps):
        tell(number, len(steps))
        with naming(number, step):
            done = ON_TABLES[step.do](frame, step, seed_of(step, seed, number))
            check_left(done.frame.num_rows)
        sizes = {"rows_in": frame.num_rows, "rows_out": done.frame.num_rows}
        told.append(StepDone(do=step.do, **sizes, num_changed=done.num_changed, fitted=done.fitted))
        frame = done.frame
    return frame, told


def run_on_images(listing: Listing, steps: Sequence[Any], *, seed: int, tell: Tell) -> tuple[Entries, list[StepDone]]:
    """The same for images."""
    entries = images.entries_of(listing)
    told = []
    for number, step in enumerate(steps):
        tell(number, len(steps))
        with naming(number, step):
            after = ON_IMAGES[step.do](entries, listing, step, seed_of(step, seed, number))
            check_left(len(after))
        moved = len(entries) if step.do == "split" else abs(len(after) - len(entries))
        told.append(StepDone(do=step.do, rows_in=len(entries), rows_out=len(after), num_changed=moved))
        entries = after
    return entries, told


@contextmanager
def naming(number: int, step: Any) -> Iterator[None]:
    try:
        yield
    except InvalidData as error:
        raise InvalidData([f"{place(number, step)}: {problem}" for problem in error.problems]) from None


def check_left(num_rows: int) -> None:
    if not num_rows:
        raise InvalidData(["no row is left"])


def seed_of(step: Any, seed: int, number: int) -> int:
    """A step's own seed; else one that the seed of the spec and the place of the step decide."""
    own: int | None = getattr(step, "seed", None)
    return mix(seed, number) if own is None else own


def split(frame: Frame, step: Split, *, seed: int) -> Done:
    of_rows: list[Hashable] | None = None
    if step.column is not None and step.by == "stratified":
        of_rows = list(categories_of(frame, step.column))
    elif step.column is not None:
        of_rows = [None if is_missing(cell) else plain(cell) for cell in frame.cells(step.column)]
    parts = split_parts(frame.num_rows, step, of_rows, seed=seed)
    sizes = {name: parts.count(name) for name in ("train", "validation", "test")}
    return Done(Frame(frame.table, parts), num_changed=frame.num_rows, fitted={"rows": sizes})


def sample(frame: Frame, step: Sample, *, seed: int) -> Done:
    strata = None if step.stratified_by is None else categories_of(frame, step.stratified_by)
    kept = sample_rows(frame.parts, strata, step, seed=seed)
    return Done(frame.take(kept), num_changed=frame.num_rows - len(kept))


def balance(frame: Frame, step: Balance, *, seed: int) -> Done:
    assert step.label is not None
    rows = balanced_rows(frame.parts, categories_of(frame, step.label), step, seed=seed)
    return Done(frame.take(rows), num_changed=abs(frame.num_rows - len(rows)))

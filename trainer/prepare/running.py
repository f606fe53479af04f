"""The steps of a preparation done one after the other, on rows or on images."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.preparation import StepDone
from core.recipes.dataset_preparation import Augment, Balance, DropDuplicates, DropMissing, Sample, Split
from core.recipes.preparable import Form
from trainer.data.cells import is_missing
from trainer.data.images.listing import Listing
from trainer.determinism import mix
from trainer.errors import InvalidData
from trainer.prepare import documents, images
from trainer.prepare.checking import place
from trainer.prepare.choosing import balanced_rows, sample_rows, split_parts
from trainer.prepare.cleaning import drop_duplicates, drop_missing, impute
from trainer.prepare.frame import Done, Frame, categories_of, plain
from trainer.prepare.images import Entries
from trainer.prepare.lengths import drop_by_length
from trainer.prepare.lines import TEXT, WORDS
from trainer.prepare.rewording import augment_texts, map_columns
from trainer.prepare.scaling import clip_outliers, normalise
from trainer.prepare.sounds import Sounds, augment_sounds, drop_equal_sounds
from trainer.prepare.tags import balance_entities, map_tags
from trainer.tools.telling import Tell


@dataclass(frozen=True, slots=True)
class Given:
    """What a step is told beside its frame. ``number`` is its own, from 0; ``sounds`` where rows name recordings."""

    form: Form
    seed: int = 0
    number: int = 0
    sounds: Sounds | None = None

    @property
    def in_documents(self) -> bool:
        return self.form in ("text", "conll")


ON_ROWS: dict[str, Callable[[Frame, Any, Given], Done]] = {
    "drop_duplicates": lambda frame, step, given: _drop_duplicates(frame, step, given),
    "fix_encoding": lambda frame, step, given: Done(frame),  # done before anything was read
    "drop_missing": lambda frame, step, given: _drop_missing(frame, step, given),
    "drop_by_length": lambda frame, step, given: drop_by_length(frame, step, _measured(frame, given), given.sounds),
    "impute": lambda frame, step, given: impute(frame, step),
    "clip_outliers": lambda frame, step, given: clip_outliers(frame, step),
    "normalise": lambda frame, step, given: normalise(frame, step),
    "split": lambda frame, step, given: (documents.split if given.in_documents else split)(frame, step, seed=given.seed),
    "sample": lambda frame, step, given: (documents.sample if given.in_documents else sample)(frame, step, seed=given.seed),
    "balance": lambda frame, step, given: (balance_entities if step.label is None else balance)(frame, step, seed=given.seed),
    "augment": lambda frame, step, given: _augment(frame, step, given),
    "map_columns": lambda frame, step, given: map_columns(frame, step),
    "map_tags": lambda frame, step, given: map_tags(frame, step),
}
ON_IMAGES: dict[str, Callable[[Entries, Listing, Any, int], Entries]] = {
    "drop_duplicates": lambda entries, listing, step, seed: images.drop_duplicates(entries, listing),
    "split": lambda entries, listing, step, seed: images.split(entries, step, seed=seed),
    "sample": lambda entries, listing, step, seed: images.sample(entries, step, seed=seed),
    "balance": lambda entries, listing, step, seed: images.balance(entries, step, seed=seed),
    "augment": lambda entries, listing, step, seed: images.augment(entries, step, seed=seed),
}


def run_on_rows(frame: Frame, steps: Sequence[Any], given: Given, *, seed: int, tell: Tell) -> tuple[Frame, list[StepDone]]:
    """InvalidData says which step could not be done. ``given`` is completed for each step."""
    told = []
    for number, step in enumerate(steps):
        tell(number, len(steps))
        with naming(number, step):
            done = ON_ROWS[step.do](frame, step, Given(given.form, seed_of(step, seed, number), number, given.sounds))
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


def _drop_duplicates(frame: Frame, step: DropDuplicates, given: Given) -> Done:
    if given.in_documents:
        return documents.drop_duplicates(frame, step)
    if given.sounds is not None and step.columns is None:
        return drop_equal_sounds(frame, step, given.sounds)
    return drop_duplicates(frame, step)


def _drop_missing(frame: Frame, step: DropMissing, given: Given) -> Done:
    return (documents.drop_blank if given.in_documents else drop_missing)(frame, step)


def _measured(frame: Frame, given: Given) -> str | None:
    """The column whose length a step means that names none."""
    usual = (TEXT,) if given.form == "text" else (WORDS, "words")
    return next((name for name in usual if name in frame.names), None)


def _augment(frame: Frame, step: Augment, given: Given) -> Done:
    if step.audio is None:
        return augment_texts(frame, step, seed=given.seed)
    assert given.sounds is not None
    return augment_sounds(frame, step, given.sounds, seed=given.seed, number=given.number)


def split(frame: Frame, step: Split, *, seed: int) -> Done:
    of_rows: list[Hashable] | None = None
    if step.column is not None and step.by == "stratified":
        of_rows = list(categories_of(frame, step.column))
    elif step.column is not None:
        known: dict[Hashable, Hashable] = {}
        cells = (None if is_missing(cell) else plain(cell) for cell in frame.cells(step.column))
        of_rows = [known.setdefault(cell, cell) for cell in cells]  # each different one is held once
    parts = split_parts(frame.num_rows, step, of_rows, seed=seed)
    sizes = {name: parts.count(name) for name in ("train", "validation", "test")}
    return Done(Frame(frame.schema, parts, frame.read), num_changed=frame.num_rows, fitted={"rows": sizes})


def sample(frame: Frame, step: Sample, *, seed: int) -> Done:
    strata = None if step.stratified_by is None else categories_of(frame, step.stratified_by)
    kept = sample_rows(frame.parts, strata, step, seed=seed)
    return Done(frame.take(kept), num_changed=frame.num_rows - len(kept))


def balance(frame: Frame, step: Balance, *, seed: int) -> Done:
    assert step.label is not None
    rows = np.sort(balanced_rows(frame.parts, categories_of(frame, step.label), step, seed=seed))
    return Done(frame.take(rows), num_changed=abs(frame.num_rows - len(rows)))

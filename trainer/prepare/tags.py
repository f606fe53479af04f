"""Words and their tags: types of entities under other names, and sentences with entities weighed against those without."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from core.recipes.dataset_preparation import Balance, MapTags
from trainer.data.table import listed
from trainer.data.tagged import TAG_COLUMNS
from trainer.errors import InvalidData
from trainer.prepare.choosing import balanced_rows
from trainer.prepare.frame import Done, Frame

OUTSIDE = "O"


def tags_column(frame: Frame) -> str:
    """InvalidData where there is none of the usual ones, or it does not hold lists of texts."""
    lower = {name.strip().lower(): name for name in reversed(frame.names)}
    name = next((lower[usual] for usual in TAG_COLUMNS if usual in lower), None)
    if name is None:
        raise InvalidData([f"no column is named like tags ({', '.join(TAG_COLUMNS)}); the columns are {listed(frame.names)}"])
    kind = frame.kind(name)
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not _are_texts(kind.value_type):
        raise InvalidData([f"column {name!r} holds {kind}, not lists of tags that are written out"])
    return name


def _are_texts(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def types_in(rows: Iterable[Sequence[str] | None]) -> set[str]:
    return {tag[2:] for tags in rows for tag in tags or () if tag and tag != OUTSIDE}


def types_after(step: MapTags, types: set[str]) -> set[str]:
    """InvalidData when the step names a type that there is not."""
    unknown = sorted({*step.rename, *step.drop} - types)
    if unknown:
        raise InvalidData([f"no word is tagged {listed(unknown)}; the types are {listed(sorted(types))}"])
    return {step.rename.get(kind, kind) for kind in types if kind not in step.drop}


def map_tags(frame: Frame, step: MapTags) -> Done:
    name = tags_column(frame)
    kind = frame.kind(name)
    num_changed = sum(
        before != after for tags in frame.cells(name) for before, after in zip(tags or (), mapped(tags or (), step), strict=True)
    )

    def changed(cells: pa.ChunkedArray, start: int) -> pa.Array:
        return pa.array([None if tags is None else mapped(tags, step) for tags in cells.to_pylist()], kind)

    return Done(frame.replace(name, kind, changed), num_changed)


def mapped(tags: Sequence[str], step: MapTags) -> list[str]:
    """An entity that follows another one and comes to have its type begins with B-, so that they stay two."""
    found: list[str] = []
    before = OUTSIDE
    for tag in tags:
        kind = tag[2:]
        if not kind or kind in step.drop:
            found.append(OUTSIDE)
        else:
            new = step.rename.get(kind, kind)
            is_other = before[2:] not in ("", kind) and found[-1][2:] == new
            found.append(f"B-{new}" if is_other else f"{tag[:2]}{new}")
        before = tag
    return found


def balance_entities(frame: Frame, step: Balance, *, seed: int) -> Done:
    """The classes are sentences that hold an entity and those that hold none."""
    holds: list[Any] = [
        "none" if not tags or all(tag == OUTSIDE for tag in tags) else "entities" for tags in frame.cells(tags_column(frame))
    ]
    rows = np.sort(balanced_rows(frame.parts, holds, step, seed=seed))
    return Done(frame.take(rows), num_changed=abs(frame.num_rows - len(rows)))

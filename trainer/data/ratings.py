"""Who rated what, read from a table: users and items as numbers, splits, and how many of them training does not know.

User and item number 0 is whatever the training rows do not have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.recipes.recommendation import Data
from trainer.data.cells import as_category, as_number, is_missing
from trainer.data.findings import Findings
from trainer.data.moments import as_moments
from trainer.data.splits import Splits, make_splits
from trainer.data.table import Table, listed, read_table

Rows = npt.NDArray[np.int64]

NAMES = {
    "user": ("user", "user_id", "userid", "uid", "customer_id", "reviewer_id", "reviewerid"),
    "item": (
        "item",
        "item_id",
        "itemid",
        "movie_id",
        "movieid",
        "product_id",
        "productid",
        "book_id",
        "song_id",
        "article_id",
        "iid",
        "asin",
    ),
    "rating": ("rating", "score", "stars", "value"),
    "time": ("timestamp", "time", "date", "datetime", "created_at"),
}
TABLE_NAMES = ("ratings", "interactions", "events", "reviews")
UNKNOWN = 0


@dataclass(frozen=True, slots=True)
class Columns:
    user: str
    item: str
    rating: str | None
    time: str | None


@dataclass(frozen=True, slots=True)
class Ratings:
    """One entry per row in ``users``, ``items`` (numbers) and ``ratings`` (float64; all 1 for implicit feedback).

    ``people`` tells apart users whom training does not know.

    ``user_names`` and ``item_names``: the name of number 1, 2, ...; ``num_users`` and ``num_items`` count number 0 as well.
    """

    explicit: bool
    columns: Columns
    users: Rows
    items: Rows
    ratings: npt.NDArray[np.float64]
    people: Rows
    user_names: list[str]
    item_names: list[str]
    splits: Splits

    @property
    def num_users(self) -> int:
        return len(self.user_names) + 1

    @property
    def num_items(self) -> int:
        return len(self.item_names) + 1


def read_ratings(root: Path, knobs: Data, *, seed: int, findings: Findings) -> Ratings:
    """Raises InvalidData with all that is wrong."""
    table = read_table(ratings_file(root), findings, split_column=knobs.split_column)
    columns = choose_columns(table, knobs, findings)
    findings.settle("drop")
    table = without_bad_rows(table, columns, findings)
    findings.settle(knobs.on_bad_rows)
    explicit = columns.rating is not None if knobs.feedback == "auto" else knobs.feedback == "explicit"
    table = distinct(liked(table, columns, None if explicit else knobs.liked_from, findings), columns, findings)
    splits = split(table, columns, knobs, seed, findings)
    findings.settle(knobs.on_bad_rows)
    users, user_names = numbered(table.columns[columns.user], splits.train)
    items, item_names = numbered(table.columns[columns.item], splits.train)
    count_strangers(users, items, splits, findings)
    values = [as_number(cell) or 0.0 for cell in table.columns[columns.rating]] if explicit and columns.rating else [1.0] * table.num_rows
    return Ratings(
        explicit=explicit,
        columns=columns,
        users=users,
        items=items,
        ratings=np.array(values, dtype=np.float64),
        people=numbered(table.columns[columns.user], np.arange(table.num_rows))[0],
        user_names=user_names,
        item_names=item_names,
        splits=splits,
    )


def ratings_file(root: Path) -> Path:
    """The folder itself, or the one table in it that is named after what it holds, where there are others beside."""
    if not root.is_dir():
        return root
    found = [path for path in sorted(root.iterdir()) if path.is_file() and path.name.lower().startswith(TABLE_NAMES)]
    return found[0] if len(found) == 1 else root


def choose_columns(table: Table, knobs: Data, findings: Findings) -> Columns:
    def choose(kind: str, asked: str | None, *, needed: bool) -> str | None:
        if asked is not None:
            table.column(asked, findings)
            return asked
        by_name = {name.strip().lower(): name for name in table.columns}
        found = next((by_name[name] for name in NAMES[kind] if name in by_name), None)
        if found is None and needed:
            findings.fatal(
                f"no column is named like a {kind} ({', '.join(NAMES[kind])}); say data.{kind}_column. There are {listed(table.columns)}"
            )
        return found

    return Columns(
        user=choose("user", knobs.user_column, needed=True) or "user",
        item=choose("item", knobs.item_column, needed=True) or "item",
        rating=choose("rating", knobs.rating_column, needed=knobs.feedback == "explicit" or knobs.liked_from is not None),
        time=choose("time", knobs.time_column, needed=knobs.split == "time"),
    )


def without_bad_rows(table: Table, columns: Columns, findings: Findings) -> Table:
    """Bad rows lack a user, an item or, where others have one, a rating, or have a rating that is no finite number."""
    keep = np.ones(table.num_rows, dtype=bool)
    for name in (columns.user, columns.item, columns.rating):
        for position, cell in enumerate(table.columns[name]) if name is not None else ():
            what = "it is empty" if is_missing(cell) else _not_a_rating(cell) if name == columns.rating else None
            if what is not None:
                findings.bad_row(what, **table.where(position), column=name)
                keep[position] = False
    return table if keep.all() else table.keep(keep)


def _not_a_rating(cell: Any) -> str | None:
    number = as_number(cell)
    return None if number is not None and np.isfinite(number) else f"{cell!r} is not a finite number"


def liked(table: Table, columns: Columns, threshold: float | None, findings: Findings) -> Table:
    if threshold is None or columns.rating is None:
        return table
    keep = [(as_number(cell) or 0.0) >= threshold for cell in table.columns[columns.rating]]
    findings.count("rows with a rating below liked_from left out", keep.count(False))
    return table.keep(keep)


def distinct(table: Table, columns: Columns, findings: Findings) -> Table:
    """Of rows with the same user and item, the one with the latest time; without times, the last."""
    moments = as_moments(table.columns[columns.time], findings) if columns.time is not None else None
    order = range(table.num_rows) if moments is None else np.argsort(moments, kind="stable").tolist()
    pairs = list(zip(map(as_category, table.columns[columns.user]), map(as_category, table.columns[columns.item]), strict=True))
    last = {pairs[row]: row for row in order}
    if len(last) == table.num_rows:
        return table
    findings.count("rows of a user and an item that have a later one dropped", table.num_rows - len(last))
    keep = np.zeros(table.num_rows, dtype=bool)
    keep[list(last.values())] = True
    return table.keep(keep)


def split(table: Table, columns: Columns, knobs: Data, seed: int, findings: Findings) -> Splits:
    return make_splits(
        table.num_rows,
        knobs,
        seed=seed,
        findings=findings,
        parts=table.parts,
        groups=table.column(knobs.group_column, findings) if knobs.split == "group" and knobs.group_column else None,
        times=table.columns[columns.time] if columns.time is not None else None,
    )


def numbered(cells: Sequence[Any], train: Rows) -> tuple[Rows, list[str]]:
    """Numbers from 1 for the names that training has, in the order of names; 0 for others."""
    categories = [as_category(cell) for cell in cells]
    names = sorted({categories[row] for row in train.tolist()})
    number_of = {name: number for number, name in enumerate(names, 1)}
    return np.array([number_of.get(name, UNKNOWN) for name in categories], dtype=np.int64), names


def count_strangers(users: Rows, items: Rows, splits: Splits, findings: Findings) -> None:
    for what, numbers in (("user", users), ("item", items)):
        for name in ("validation", "test"):
            num = int((numbers[getattr(splits, name)] == UNKNOWN).sum())
            if num:
                findings.count(f"{name} rows whose {what} training does not have", num)

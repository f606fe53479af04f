"""Texts and their labels out of tables and text files: which columns they are in, and which rows cannot be used."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.recipes.sections.data import DataKnobs
from core.recipes.text_classification import Data
from trainer.data.findings import Findings
from trainer.data.layout import find_parts
from trainer.data.leaks import drop_or_report_leaks
from trainer.data.splits import Splits, make_splits
from trainer.data.table import READERS, Table, listed, read_table
from trainer.data.text_lines import sound_lines

TEXT_NAMES = ("text", "sentence", "content", "review", "document", "body")
LABEL_NAMES = ("label", "labels", "class", "target", "category", "sentiment")
PAIR_NAMES = (
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("query", "passage"),
)
PLAIN = (".txt", ".text")
BETWEEN = "\x1f"  # stands between the texts of a pair where both are one key


@dataclass(slots=True)
class LabelledTexts:
    """Rows that can be used. ``labels`` count in ``classes``, which are in their order: of numbers by value, else of the alphabet."""

    texts: list[str]
    pairs: list[str] | None
    labels: npt.NDArray[np.int64]
    classes: list[str]
    splits: Splits
    columns: tuple[str, str | None]  # of the texts and the second texts


def read_labelled_texts(root: Path, knobs: Data, *, seed: int, findings: Findings) -> LabelledTexts:
    """Raises InvalidData with everything that is wrong, as ``knobs.on_bad_rows`` says."""
    table = read_table(root, findings, split_column=knobs.split_column)
    text_column, pair_column = find_texts(table, knobs.text_column, knobs.text_pair_column, findings)
    label_column = find_column(table, knobs.label_column, LABEL_NAMES, "label", findings)
    if findings.has_fatal:  # a column that is not there; else bad cells are said along with bad rows
        findings.settle(knobs.on_bad_rows)
    usable = np.ones(table.num_rows, dtype=bool)
    for column in filter(None, (text_column, pair_column)):
        usable &= check_cells(table, column, problem_of_text, findings)
    usable &= check_cells(table, label_column, problem_of_label, findings)
    table = table.keep(usable)
    names = [name_of(cell) for cell in table.columns[label_column]]
    classes = in_order(set(names))
    if len(classes) < 2:
        findings.fatal(f"there is one class: {listed(classes)}; at least two are needed", column=label_column)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[name] for name in names], dtype=np.int64)
    texts, pairs = table.columns[text_column], table.columns[pair_column] if pair_column else None
    keys = texts if pairs is None else [BETWEEN.join(both) for both in zip(texts, pairs, strict=True)]
    splits = split_texts(table, keys, knobs, seed=seed, findings=findings, labels=labels, label_names=classes)
    findings.settle(knobs.on_bad_rows)
    return LabelledTexts(texts=texts, pairs=pairs, labels=labels, classes=classes, splits=splits, columns=(text_column, pair_column))


def split_texts(
    table: Table,
    keys: Sequence[str],
    knobs: DataKnobs,
    *,
    seed: int,
    findings: Findings,
    labels: npt.NDArray[np.int64] | None = None,
    label_names: Sequence[str] | None = None,
) -> Splits:
    """``keys`` has one text per row: those that are equal leak from split to split."""
    splits = make_splits(
        table.num_rows,
        knobs,
        seed=seed,
        findings=findings,
        labels=labels,
        label_names=label_names,
        parts=table.parts,
        groups=table.column(knobs.group_column, findings) if knobs.group_column else None,
        times=table.column(knobs.time_column, findings) if knobs.time_column else None,
    )
    return splits if findings.has_fatal else drop_or_report_leaks(splits, keys, knobs, findings)


def read_plain_texts(root: Path, text_column: str | None, knobs: DataKnobs, findings: Findings) -> Table:
    """A table with the one column ``text``: lines of .txt files that are not blank, or the texts of a table that can be used."""
    if parts := {} if find_parts(root, tuple(READERS)) else find_parts(root, PLAIN):
        return _read_lines(root, parts, findings)
    table = read_table(root, findings, split_column=knobs.split_column)
    column = find_column(table, text_column, TEXT_NAMES, "text", findings)
    if findings.has_fatal:
        findings.settle(knobs.on_bad_rows)
    table = table.keep(check_cells(table, column, problem_of_text, findings))
    table.columns["text"] = table.columns[column]
    return table


def _read_lines(root: Path, parts: dict[str, list[Path]], findings: Findings) -> Table:
    table = Table(columns={"text": []})
    for part, paths in parts.items():
        for path in paths:
            name = path.name if path == root else path.relative_to(root).as_posix()
            for number, text in _lines(path, name, findings):
                table.columns["text"].append(text)
                table.files.append(name)
                table.rows.append(number)
                table.parts.append(None if part == "all" else part)
    return table


def _lines(path: Path, name: str, findings: Findings) -> Iterator[tuple[int, str]]:
    """Those that are not blank, with their numbers from 1."""
    for number, line in sound_lines(path, name, findings):
        if text := line.strip():
            yield number, text


def find_texts(table: Table, text: str | None, pair: str | None, findings: Findings) -> tuple[str, str | None]:
    """The columns of the texts and, where rows are pairs, of the second texts."""
    if text is None and pair is None:
        lower = {name.lower(): name for name in reversed(table.columns)}
        usual = [both for both in PAIR_NAMES if set(both) <= lower.keys()]
        if usual and not set(TEXT_NAMES[:1]) & lower.keys():
            findings.count(f"pairs of texts found in the columns {usual[0][0]} and {usual[0][1]}", table.num_rows)
            return lower[usual[0][0]], lower[usual[0][1]]
    column = find_column(table, text, TEXT_NAMES, "text", findings)
    if pair is not None:
        table.column(pair, findings)
    return column, pair


def find_column(table: Table, wanted: str | None, usual: Sequence[str], what: str, findings: Findings) -> str:
    """The column that the spec names, or the first of ``usual`` that there is, in any case. A fatal finding when there is none."""
    if wanted is not None:
        table.column(wanted, findings)
        return wanted
    lower = {name.lower(): name for name in reversed(table.columns)}
    found = next((lower[name] for name in usual if name in lower), None)
    if found is None and not findings.has_fatal:
        findings.fatal(f"no column is called {', '.join(usual)}; set data.{what}_column to one of {listed(table.columns)}")
    return found or usual[0]


def check_cells(table: Table, column: str, problem_of: Callable[[Any], str | None], findings: Findings) -> npt.NDArray[np.bool_]:
    """For each row, whether ``problem_of(cell)`` is None; the others are findings."""
    usable = np.ones(table.num_rows, dtype=bool)
    for position, cell in enumerate(table.columns.get(column, [])):
        problem = problem_of(cell)
        if problem is not None:
            usable[position] = False
            findings.bad_row(problem, **table.where(position), column=column)
    return usable


def problem_of_text(cell: Any) -> str | None:
    if cell is None or cell == "":
        return "it is empty"
    if not isinstance(cell, str):
        return f"it is {type(cell).__name__}, not a text"
    if not cell.strip():
        return "it is blank"
    try:
        cell.encode()
    except UnicodeEncodeError as error:
        return f"character {error.start} is half of a surrogate pair and no character"
    return None


def problem_of_label(cell: Any) -> str | None:
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return "it is empty"
    if isinstance(cell, float) and not cell.is_integer():
        return f"{cell} is a measure, not a class"
    if not isinstance(cell, str | int | float):
        return f"it is {type(cell).__name__}, not a class"
    return problem_of_text(cell) if isinstance(cell, str) else None


def name_of(cell: str | int | float) -> str:
    """1, 1.0 and "1" are one class."""
    return str(int(cell)) if isinstance(cell, float) else str(cell).strip()


def in_order(names: set[str]) -> list[str]:
    """Numbers by their value, else by the alphabet."""
    if all(name.removeprefix("-").isascii() and name.removeprefix("-").isdigit() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)

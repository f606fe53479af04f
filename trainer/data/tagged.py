"""Sentences of tagged words, from tables or CoNLL columns: read, checked, split."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.recipes.token_classification import Data
from trainer.data.findings import Findings
from trainer.data.layout import find_parts
from trainer.data.leaks import drop_or_report_leaks
from trainer.data.splits import Splits, make_splits
from trainer.data.table import READERS, Table, listed, read_table
from trainer.data.text_lines import TextLines, sound_text

COLUMNS = (".conll", ".conll2003", ".bio", ".iob", ".iob2", ".txt")
TAG_COLUMNS = ("ner_tags", "tags", "labels")
NAMES = "labels.json"
DOCUMENT = "-DOCSTART-"

Tags = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TaggedWords:
    """``tags`` are numbers of ``names``: O, B-a, I-a, B-b, I-b, ... with the types in the order of the alphabet."""

    words: list[list[str]]
    tags: list[Tags]
    names: list[str]
    splits: Splits

    @property
    def num_types(self) -> int:
        return len(self.names) // 2

    def named(self, tags: Tags) -> list[str]:
        return [self.names[tag] for tag in tags.tolist()]


def read_tagged_words(root: Path, knobs: Data, *, seed: int, findings: Findings) -> TaggedWords:
    """Raises InvalidData with everything that is wrong, at once."""
    table, good = usable_sentences(root, knobs, findings)
    splits = _split(table, [own for own, _ in good], knobs, seed=seed, findings=findings)
    findings.settle(knobs.on_bad_rows)
    names = _names([its for _, its in good], splits, table, findings)
    findings.settle(knobs.on_bad_rows)
    number = {name: position for position, name in enumerate(names)}
    numbers = [np.array([number[tag] for tag in its], dtype=np.int64) for _, its in good]
    return TaggedWords([own for own, _ in good], numbers, names, splits)


def usable_sentences(root: Path, knobs: Data, findings: Findings) -> tuple[Table, list[tuple[list[str], list[str]]]]:
    """The rows that can be used, and the words and tags of each; the others are findings. Raises InvalidData for what is fatal."""
    table = read_sentences(root, knobs, findings)
    findings.settle("drop")  # what is fatal; bad rows may become more
    column = knobs.tags_column or next((name for name in TAG_COLUMNS if name in table.columns), TAG_COLUMNS[0])
    words, tags = table.column(knobs.tokens_column, findings), table.column(column, findings)
    findings.settle("drop")
    named = _named(tags, _names_beside(root, findings), column, table, findings)
    problems = [_problem_of(own, its, knobs) for own, its in zip(words, named, strict=True)]
    for position, problem in enumerate(problems):
        if problem is not None and named[position] is not None:
            findings.bad_row(problem, **table.where(position))
    kept = [problem is None for problem in problems]
    pairs = zip(words, (_begun(its) if knobs.scheme == "iob1" else its or [] for its in named), kept, strict=True)
    return table.keep(kept), [(own, its) for own, its, is_kept in pairs if is_kept]


def read_sentences(root: Path, knobs: Data, findings: Findings) -> Table:
    """A row is a sentence, with its words and tags as they stand there."""
    parts = find_parts(root, COLUMNS)
    tables = find_parts(root, tuple(READERS))
    beside = [path for paths in tables.values() for path in paths if path.name == NAMES]
    only = [path for paths in tables.values() for path in paths if path.name != NAMES]
    if parts and not only:
        return _read_columns(root, parts, findings)
    if beside and set(tables) == {"all"} and len(only) == 1:
        root = only[0]  # the names of the tags are no sentences
    return read_table(root, findings, split_column=knobs.split_column)


def _read_columns(root: Path, parts: dict[str, list[Path]], findings: Findings) -> Table:
    """A table of the usual columns; ``rows`` are the numbers of the lines in which sentences begin."""
    table = Table(columns={"tokens": [], TAG_COLUMNS[0]: []})
    for part, paths in parts.items():
        for path in paths:
            name = path.name if path == root else path.relative_to(root).as_posix()
            for row, words, tags in _sentences(path, name, findings):
                table.columns["tokens"].append(words)
                table.columns[TAG_COLUMNS[0]].append(tags)
                table.files.append(name)
                table.rows.append(row)
                table.parts.append(None if part == "all" else part)
    return table


def _sentences(path: Path, name: str, findings: Findings) -> Iterator[tuple[int, list[str], list[str]]]:
    """(first line, words, tags): the first and the last column of each line; columns are separated by tabs or spaces."""
    if not sound_text(path, name, findings):
        return
    first, words, tags = 0, list[str](), list[str]()
    with path.open("rb") as file:
        lines = TextLines(file)
        for row, line in enumerate(lines, 1):
            damage = lines.take_damage()
            if damage is not None:
                findings.fatal(damage, file=name, row=row)
            cells = line.split("\t") if "\t" in line else line.split()
            cells = [cell.strip() for cell in cells]
            if not line.strip() or cells[0] == DOCUMENT:
                if words:
                    yield first, words, tags
                words, tags = [], []
            elif len(cells) < 2 or not cells[0] or not cells[-1]:
                findings.bad_row(f"it has {len(cells)} columns, not a word and a tag", file=name, row=row)
            else:
                first = first if words else row
                words.append(cells[0])
                tags.append(cells[-1])
    if words:
        yield first, words, tags


def _names_beside(root: Path, findings: Findings) -> list[str] | None:
    """The names of numbered tags, from ``labels.json`` in the folder."""
    path = (root if root.is_dir() else root.parent) / NAMES
    if not path.is_file():
        return None
    try:
        names = json.loads(path.read_bytes())
    except ValueError as error:
        findings.fatal(f"it is not JSON: {error}", file=NAMES)
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        findings.fatal("it is not a list of names", file=NAMES)
        return None
    return names


def _named(rows: list[Any], names: list[str] | None, column: str, table: Table, findings: Findings) -> list[list[str] | None]:
    """The tags of each row by name; None, and a finding, for a row that has none."""
    found: list[list[str] | None] = []
    for position, tags in enumerate(rows):
        problem = None
        if not isinstance(tags, list):
            problem = f"it is {type(tags).__name__}, not a list of tags"
        elif any(isinstance(tag, int) for tag in tags):
            if names is None:
                problem = f"tags are numbers, and there is no {NAMES} with their names"
            elif not all(isinstance(tag, int) and 0 <= tag < len(names) for tag in tags):
                problem = f"it has a tag that is no number below {len(names)}, the number of names in {NAMES}"
            else:
                tags = [names[tag] for tag in tags]
        if problem is not None:
            findings.bad_row(problem, **table.where(position), column=column)
        found.append(tags if problem is None else None)
    return found


def _problem_of(words: Any, tags: list[str] | None, knobs: Data) -> str | None:
    """What is wrong with a sentence; None when nothing is. Without tags it was said before."""
    if tags is None:
        return "it has no tags"
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        return f"column {knobs.tokens_column} is not a list of words"
    if len(words) != len(tags):
        return f"it has {len(words)} tokens and {len(tags)} tags"
    before = "O"
    for place, tag in enumerate(tags, 1):
        prefix, dash, kind = tag.partition("-") if isinstance(tag, str) else ("", "", "")
        if tag != "O" and not (prefix in ("B", "I") and dash and kind):
            return f"tag {place}, {tag!r}, is none of O, B-type and I-type"
        if prefix == "I" and knobs.scheme == "iob2" and before not in (f"B-{kind}", tag):
            return f"tag {place}, {tag}, continues nothing: {before} stands before it (data.scheme iob1 lets an entity begin so)"
        before = tag
    return None


def _begun(tags: list[str] | None) -> list[str]:
    """An I- tag that continues nothing begins an entity."""
    before, found = "O", []
    for tag in tags or []:
        begins = tag.startswith("I-") and before[2:] != tag[2:]
        found.append("B" + tag[1:] if begins else tag)
        before = tag
    return found


def _split(table: Table, words: list[list[str]], knobs: Data, *, seed: int, findings: Findings) -> Splits:
    groups = table.column(knobs.group_column, findings) if knobs.group_column else None
    times = table.column(knobs.time_column, findings) if knobs.time_column else None
    splits = make_splits(table.num_rows, knobs, seed=seed, findings=findings, parts=table.parts, groups=groups, times=times)
    return splits if findings.has_fatal else drop_or_report_leaks(splits, [" ".join(own) for own in words], knobs, findings)


def _names(tags: list[list[str]], splits: Splits, table: Table, findings: Findings) -> list[str]:
    """Of the types that the training split has; another split may have no others."""
    types = sorted({tag[2:] for row in splits.train.tolist() for tag in tags[row] if tag != "O"})
    if not types:
        findings.fatal("no word of the training split is tagged")
    known = {"O"} | {f"{prefix}-{kind}" for kind in types for prefix in "BI"}
    for split, rows in (("validation", splits.validation), ("test", splits.test)):
        for row in rows.tolist():
            unknown = sorted(set(tags[row]) - known)
            if unknown:
                findings.fatal(f"the {split} split has tags that the training split lacks: {listed(unknown)}", **table.where(row))
    return ["O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]

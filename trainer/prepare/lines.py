"""Plain texts and CoNLL columns before the first step: a row is a line or a sentence, and every row belongs to a document.

A document is a file where a split has several; else what stands between blank lines, or of CoNLL columns between ``-DOCSTART-``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from trainer.data.findings import Findings
from trainer.data.layout import find_parts
from trainer.data.tagged import COLUMNS, DOCUMENT
from trainer.data.text.columns import PLAIN
from trainer.data.text_lines import sound_lines
from trainer.prepare.frame import Frame, Parts
from trainer.prepare.spooling import Places, Spool, Tick

TEXT, WORDS, TAGS, BETWEEN, OF_DOCUMENT = "text", "tokens", "ner_tags", "between", "document"
_LINES = pa.schema([(TEXT, pa.string()), (OF_DOCUMENT, pa.int64())])
_SENTENCES = pa.schema(
    [(WORDS, pa.list_(pa.string())), (TAGS, pa.list_(pa.string())), (BETWEEN, pa.list_(pa.string())), (OF_DOCUMENT, pa.int64())]
)


@dataclass(frozen=True, slots=True)
class Documents:
    """``paths``: all that was read; ``files``: the name of each document, where documents are files.

    ``is_marked``: whether ``-DOCSTART-`` tells them apart.
    """

    paths: tuple[Path, ...]
    files: tuple[str, ...] | None
    is_marked: bool = False


def read_lines(root: Path, findings: Findings, *, scratch: Path, tick: Tick) -> tuple[Frame, Places, Documents]:
    """Blank lines are rows as well; those of plain text that are not UTF-8 are bad rows."""
    by_part = find_parts(root, PLAIN)
    are_files = any(len(paths) > 1 for paths in by_part.values())
    places, parts, document = Places(), Parts(), -1
    names: list[str] = []
    with Spool(scratch / "rows.arrow", _LINES, tick) as rows:
        for part, path in _placed(by_part):
            names.append(_name(path, root))
            document += 1
            was_blank = False
            for row, line in sound_lines(path, names[-1], findings):
                is_blank = not line.strip()
                document += was_blank and not is_blank and not are_files
                was_blank = is_blank
                rows.add({TEXT: line.removesuffix("\n").removesuffix("\r"), OF_DOCUMENT: document})
                places.add(names[-1], row)
                parts.append(part)
    return Frame(_LINES, parts, rows.reader()), places, _told(by_part, names if are_files else None)


def _told(by_part: dict[str, list[Path]], names: list[str] | None, *, is_marked: bool = False) -> Documents:
    paths = tuple(path for paths in by_part.values() for path in paths)
    return Documents(paths, None if names is None else tuple(names), is_marked and names is None)


def _placed(by_part: dict[str, list[Path]]) -> Iterator[tuple[str | None, Path]]:
    for part, paths in by_part.items():
        for path in paths:
            yield None if part == "all" else part, path


def _name(path: Path, root: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


def read_columns(root: Path, findings: Findings, *, scratch: Path, tick: Tick) -> tuple[Frame, Places, Documents]:
    """Whatever stands between the first and the last column is kept. A sentence's place is that of its first line."""
    by_part = find_parts(root, COLUMNS)
    are_files = any(len(paths) > 1 for paths in by_part.values())
    places, parts, document = Places(), Parts(), -1
    names: list[str] = []
    is_marked = False
    with Spool(scratch / "rows.arrow", _SENTENCES, tick) as rows:
        for part, path in _placed(by_part):
            names.append(_name(path, root))
            document += 1
            for first, begins, cells in _sentences(path, names[-1], findings):
                is_marked = is_marked or begins
                document += begins and not are_files
                words, between, tags = ([word[place] for word in cells] for place in range(3))
                rows.add({WORDS: words, TAGS: tags, BETWEEN: between, OF_DOCUMENT: document})
                places.add(names[-1], first)
                parts.append(part)
    return Frame(_SENTENCES, parts, rows.reader()), places, _told(by_part, names if are_files else None, is_marked=is_marked)


Cells = list[tuple[str, str, str]]


def _sentences(path: Path, name: str, findings: Findings) -> Iterator[tuple[int, bool, Cells]]:
    """(first line, whether a document begins with it, (word, columns between, tag) of each line)."""
    begins, first = False, 0
    cells: Cells = []
    for row, line in sound_lines(path, name, findings):
        columns = [cell.strip() for cell in (line.split("\t") if "\t" in line else line.split())]
        if line.strip() and columns[0] != DOCUMENT:
            if len(columns) < 2 or not columns[0] or not columns[-1]:
                findings.bad_row(f"it has {len(columns)} columns, not a word and a tag", file=name, row=row)
                continue
            first = first if cells else row
            cells.append((columns[0], "\t".join(columns[1:-1]), columns[-1]))
            continue
        if cells:
            yield first, begins, cells
            begins, cells = False, []
        begins = begins or bool(line.strip())
    if cells:
        yield first, begins, cells

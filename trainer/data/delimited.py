"""CSV and TSV as people write them: the delimiter is found out, and every record that is not sound is named."""

import csv
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.findings import Findings
from trainer.data.text_lines import TextLines, sound_text

DELIMITERS = (",", "\t", ";")
SAMPLE_LINES = 10_000  # a quotation mark may come late
DELIMITER_LINES = 50
MAX_FIELD_CHARS = 1 << 28  # the module's own limit of 131,072 is less than a long article


@dataclass(frozen=True, slots=True)
class Dialect:
    """``literal_quotes``: a quotation mark is a letter like others, as tab-separated files often have it."""

    delimiter: str
    literal_quotes: bool = False

    def records(self, lines: Iterator[str]) -> Iterator[list[str]]:
        csv.field_size_limit(MAX_FIELD_CHARS)
        if self.literal_quotes:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.delimiter, strict=True)


def read_delimited(path: Path, name: str, findings: Findings) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Records with their numbers, the header being record 1; a quoted line break does not begin a new one.

    An empty cell is None. Records of another length than the header, and bytes that are not UTF-8, are bad rows;
    a broken header, or a quotation mark that never closes, is fatal.
    """
    if not sound_text(path, name, findings):
        return
    with path.open("rb") as file:
        sample = [line for line in itertools.islice(TextLines(file), SAMPLE_LINES) if line.strip()]
    dialect = detect(sample, prefers_tab=path.suffix.lower() != ".csv")
    with path.open("rb") as file:
        lines = TextLines(file)
        yield from _checked(dialect.records(iter(lines)), lines, name, findings)


def _checked(records: Iterator[list[str]], lines: TextLines, name: str, findings: Findings) -> Iterator[tuple[int, Mapping[str, Any]]]:
    header: list[str] | None = None
    row = 0
    while True:
        try:
            cells = next(records, None)
        except csv.Error as error:
            findings.fatal(f"it is not sound CSV from here on: {_explained(error)}", file=name, row=row + 1)
            return
        if cells is None:
            return
        row += 1
        broken = lines.take_damage()
        if header is None:
            header = _header(cells, broken, name, findings)
            if header is None:
                return
        elif broken is not None:
            findings.bad_row(broken, file=name, row=row)
        elif cells and len(cells) != len(header):
            findings.bad_row(f"{len(cells)} cells where the header has {len(header)}", file=name, row=row)
        elif cells:  # an empty line is no record
            yield row, {column: cell or None for column, cell in zip(header, cells, strict=True)}


def _header(cells: list[str], broken: str | None, name: str, findings: Findings) -> list[str] | None:
    names = [cell.strip() or f"column {position}" for position, cell in enumerate(cells, 1)]
    twice = sorted({column for column in names if names.count(column) > 1})
    if broken is not None:
        findings.fatal(broken, file=name, row=1)
    if not any(cell.strip() for cell in cells):
        findings.fatal("the header is empty", file=name, row=1)
    if twice:
        findings.fatal(f"the header names {', '.join(map(repr, twice))} more than once", file=name, row=1)
    return None if broken is not None or twice or not any(cell.strip() for cell in cells) else names


def detect(sample: list[str], *, prefers_tab: bool) -> Dialect:
    """The delimiter under which most lines have as many cells as the first, and the more cells the better."""
    if not sample:
        return Dialect(",")
    if prefers_tab and "\t" in sample[0]:
        return Dialect("\t", literal_quotes=_quotes_are_literal(sample))
    best = max(DELIMITERS, key=lambda delimiter: _fit(sample[:DELIMITER_LINES], delimiter))
    return Dialect(best, literal_quotes=best == "\t" and _quotes_are_literal(sample))


def _fit(sample: list[str], delimiter: str) -> tuple[bool, float, int]:
    try:
        records = [record for record in csv.reader(sample, delimiter=delimiter) if record]
    except csv.Error:
        return False, 0.0, 0
    width = len(records[0]) if records else 0
    same = sum(len(record) == width for record in records)
    return width > 1, same / max(1, len(records)), width


def _quotes_are_literal(sample: list[str]) -> bool:
    """Whether more lines have as many cells as the first when a quotation mark is a letter than when it quotes."""
    width = sample[0].count("\t")
    num_literal = sum(line.count("\t") == width for line in sample)
    try:
        widths = [len(record) for record in csv.reader(sample, delimiter="\t", strict=True) if record]
    except csv.Error:
        return 2 * num_literal > len(sample)
    return num_literal * len(widths) > sum(other == widths[0] for other in widths) * len(sample)


def _explained(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "a quotation mark is opened and never closed"
    return str(error)

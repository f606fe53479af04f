"""Texts to predict on: as they were typed, lines, or the rows of tables."""

from pathlib import Path

from trainer.data.findings import Findings
from trainer.data.table import READERS, read_table
from trainer.data.text.columns import TEXT_NAMES, find_column, problem_of_text
from trainer.errors import InvalidData
from trainer.predict.predictor import BadInput

TABLES = tuple(READERS)


def texts_of(inputs: list[Path] | list[str], column: str, pair_column: str | None = None) -> list[tuple[str, str | None]]:
    """Each text, and the second of a pair where the model wants pairs: behind a tab in a line, or in a column of its own.

    ``column`` is where the training data had the text; a table that lacks it has the text where training would look for it.
    """
    rows = [
        row for given in inputs for row in (_rows(given, column, pair_column) if isinstance(given, Path) else [_split(given, pair_column)])
    ]
    for text, pair in rows:
        problem = problem_of_text(text) or (problem_of_text(pair) if pair_column is not None else None)
        if problem is not None:
            raise BadInput(f"a text cannot be used: {problem}")
    return rows


def _split(line: str, pair_column: str | None) -> tuple[str, str | None]:
    if pair_column is None:
        return line, None
    text, tab, pair = line.partition("\t")
    if not tab:
        raise BadInput("the model wants pairs: two texts with a tab between them")
    return text, pair


def _rows(path: Path, column: str, pair_column: str | None) -> list[tuple[str, str | None]]:
    findings = Findings()
    table = read_table(path, findings)
    found = column if column in table.columns else find_column(table, None, TEXT_NAMES, "text", findings)
    texts = table.column(found, findings)
    pairs = table.column(pair_column, findings) if pair_column is not None else [None] * table.num_rows
    try:
        findings.settle("fail")
    except InvalidData as error:
        raise BadInput(f"{path}: {error}") from None
    return list(zip(texts, pairs, strict=True))

"""Texts to predict on: as they were typed, lines, the rows of tables, or records."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch

from trainer.data.findings import Findings
from trainer.data.table import READERS, read_table
from trainer.data.text.columns import TEXT_NAMES, find_column, problem_of_text
from trainer.data.text.tokenizers import Tokenizer
from trainer.determinism import generator
from trainer.errors import InvalidData
from trainer.predict.predictor import BadInput, Record, text_in

TABLES = tuple(READERS)
PREDICTIONS = "predictions.csv"
WORDS_OF_MADE_UP_TEXT = 12


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


def texts_in(records: Sequence[Record], column: str, pair_column: str | None) -> list[tuple[str, str | None]]:
    """The same for records. A record of a text alone may have both of a pair in it, with a tab between them."""
    return [_pair_in(record, column, pair_column) for record in records]


def _pair_in(record: Record, column: str, pair_column: str | None) -> tuple[str, str | None]:
    if pair_column is None or pair_column not in record:
        return _split(text_in(record, column), pair_column)
    problem = problem_of_text(record[pair_column])
    if problem is not None:
        raise BadInput(f"column {pair_column}: {problem}")
    return text_in(record, column), str(record[pair_column])


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


def tested_texts(folder: Path, num: int) -> list[dict[str, str]]:
    """The first rows that a package was tested on, as its ``predictions.csv`` has them; none where it keeps none."""
    path = folder / PREDICTIONS
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [row for _, row in zip(range(num), csv.DictReader(file), strict=False)]


def made_up_texts(tokenizer: Tokenizer, num: int) -> list[str]:
    """Texts of tokens drawn at random, the same each time, each of another length."""
    ordinary = [number for number in range(tokenizer.vocab_size) if number not in tokenizer.special_ids]
    draws = generator(num, len(ordinary))
    lengths = [1 + (number % WORDS_OF_MADE_UP_TEXT) for number in range(num)]
    places = [torch.randint(len(ordinary), (length,), generator=draws).tolist() for length in lengths]
    texts = [tokenizer.decode([ordinary[place] for place in row]) for row in places]
    return [text if text.strip() else "a" for text in texts]

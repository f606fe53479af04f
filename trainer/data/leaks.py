"""Rows that stand in two splits, which would flatter a score, and training rows that stand there twice."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from core.recipes.sections.data import DataKnobs
from trainer.data.findings import Findings
from trainer.data.splits import Splits

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_NOT_WORDS = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """What is left of a text when case, spaces, punctuation and ways to encode a letter do not count; itself when nothing is left."""
    return _NOT_WORDS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip() or text


def drop_or_report_leaks(splits: Splits, keys: Sequence[bytes | str], knobs: DataKnobs, findings: Findings) -> Splits:
    """The splits after ``knobs.drop_duplicates`` and ``knobs.leaks`` were obeyed.

    ``keys`` has one entry per row of the dataset: all of a row that a model sees, as bytes (images, features) or as text.
    Texts also leak when they are the same after ``normalised``. With ``leaks: drop``, a row leaves the split that is
    learned from: training for validation and test, validation for test.
    """
    ids = _numbered(keys)
    train = _without_duplicates(splits.train, ids, findings) if knobs.drop_duplicates else splits.train
    loose = _numbered([normalised(key) if isinstance(key, str) else key for key in keys])
    validation = splits.validation
    pairs = (
        ("training", "validation", train, validation),
        ("training", "test", train, splits.test),
        ("validation", "test", validation, splits.test),
    )
    leaking = {"training": np.zeros(len(train), bool), "validation": np.zeros(len(validation), bool)}
    for name, other_name, rows, others in pairs:
        leaking[name] |= _report(f"{name} and {other_name}", _shared(rows, others, ids), _shared(rows, others, loose), knobs, findings)
    if knobs.leaks != "drop":
        return Splits(train=train, validation=validation, test=splits.test)
    return _dropped(Splits(train=train, validation=validation, test=splits.test), leaking, findings)


def _numbered(keys: Sequence[bytes | str]) -> Rows:
    """Equal keys get equal numbers."""
    numbers: dict[bytes | str, int] = {}
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), dtype=np.int64, count=len(keys))


def _shared(rows: Rows, others: Rows, ids: Rows) -> Mask:
    """Which of ``rows`` stand among ``others`` as well."""
    known = np.zeros(int(ids.max(initial=-1)) + 1, dtype=bool)
    known[ids[others]] = True
    return known[ids[rows]]


def _without_duplicates(rows: Rows, ids: Rows, findings: Findings) -> Rows:
    """Of rows with the same number, the first."""
    first: dict[int, int] = {}
    for row, number in zip(rows.tolist(), ids[rows].tolist(), strict=True):
        first.setdefault(number, row)
    if len(first) < len(rows):
        findings.count("duplicate training rows dropped", len(rows) - len(first))
    return np.fromiter(first.values(), dtype=np.int64, count=len(first))


def _report(where: str, exact: Mask, loose: Mask, knobs: DataKnobs, findings: Findings) -> Mask:
    num_exact, num_loose = int(exact.sum()), int((loose & ~exact).sum())
    if num_exact:
        findings.count(f"rows in both {where}", num_exact)
    if num_loose:
        findings.count(f"rows in both {where} but for case, spaces and punctuation", num_loose)
    if knobs.leaks == "fail" and num_exact + num_loose:
        findings.fatal(f"{num_exact + num_loose:,} rows stand in both {where}")
    return exact | loose


def _dropped(splits: Splits, leaking: dict[str, Mask], findings: Findings) -> Splits:
    for name, mask in leaking.items():
        if mask.all() and len(mask):
            findings.fatal(f"nothing is left of the {name} split without the rows that stand in another split as well")
            return splits
        if mask.any():
            findings.count(f"leaking rows dropped from {name}", int(mask.sum()))
    train, validation = splits.train[~leaking["training"]], splits.validation[~leaking["validation"]]
    return Splits(train=train, validation=validation, test=splits.test)

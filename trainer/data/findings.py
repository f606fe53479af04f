"""What is wrong with a dataset, or was changed in it: collected while it is read, said all at once, each with its place."""

import itertools
from typing import Any, Literal

from trainer.errors import InvalidData

MOST_SPELLED_OUT = 100
LONGEST_PROBLEM = 400  # characters; a cell may hold a whole book
LONGEST_MESSAGE = 18_000  # characters; the failure of an attempt is cut after 20,000


class Findings:
    """``row`` is the number, from 1, of a line or record in its file; of a table with a header, the header is record 1."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._fatal: list[str] = []
        self._num_fatal = 0
        self._bad: list[tuple[str, int, str]] = []
        self._num_bad = 0
        self._bad_rows: set[tuple[str | None, int | None]] = set()

    def bad_row(self, what: str, *, file: str | None = None, row: int | None = None, column: str | None = None) -> None:
        """A row that cannot be used: it fails the job, or the caller leaves it out, as ``on_bad_rows`` says."""
        self._num_bad += 1
        self._bad_rows.add((file, row) if row is not None else (file, -self._num_bad))
        if len(self._bad) < MOST_SPELLED_OUT:
            self._bad.append((file or "", row or 0, placed(what, file, row, column)))

    def fatal(self, what: str, *, file: str | None = None, row: int | None = None, column: str | None = None) -> None:
        """Something that fails the job whatever ``on_bad_rows`` says."""
        self._num_fatal += 1
        if len(self._fatal) < MOST_SPELLED_OUT:
            self._fatal.append(placed(what, file, row, column))

    def count(self, name: str, num: int = 1) -> None:
        """Something that was changed or noticed and fails nothing: ``duplicates dropped``, ``missing values imputed``."""
        self.counts[name] = self.counts.get(name, 0) + num

    @property
    def num_bad_rows(self) -> int:
        """Different rows; one row may have several problems."""
        return len(self._bad_rows)

    @property
    def has_fatal(self) -> bool:
        return self._num_fatal > 0

    def settle(self, on_bad_rows: Literal["fail", "drop"]) -> None:
        """Raises InvalidData with everything that was found, if it is to fail the job."""
        fails = on_bad_rows == "fail"
        if not self._num_fatal and not (fails and self._num_bad):
            return
        problems = self._fatal + (self._bad_in_order() if fails else [])
        total = self._num_fatal + (self._num_bad if fails else 0)
        spelled = _as_many_as_fit(problems[:MOST_SPELLED_OUT])
        if total > len(spelled):
            spelled.append(f"and {total - len(spelled):,} more problems")
        if fails and self._bad_rows:
            num = len(self._bad_rows)
            spelled.append(f'{num:,} row{"s" if num > 1 else ""} cannot be used; data.on_bad_rows "drop" goes on without them')
        raise InvalidData(spelled)

    def report(self) -> dict[str, Any]:
        """For data_report.json: counts, and the rows that were left out, the first ones spelled out."""
        return {"rows_dropped": len(self._bad_rows), "counts": dict(sorted(self.counts.items())), "problems": self._bad_in_order()}

    def _bad_in_order(self) -> list[str]:
        """File after file as they were read, each from its first row on, whatever looked at which row first."""
        files = list(dict.fromkeys(file for file, _, _ in self._bad))
        return [text for file, _, text in sorted(self._bad, key=lambda bad: (files.index(bad[0]), bad[1]))]


def _as_many_as_fit(problems: list[str]) -> list[str]:
    ends = itertools.accumulate(len(problem) + 1 for problem in problems)
    return [problem for problem, end in zip(problems, ends, strict=True) if end <= LONGEST_MESSAGE]


def placed(what: str, file: str | None, row: int | None, column: str | None) -> str:
    """``train.csv, row 7, column label: it is empty``, in one line."""
    parts = [file, f"row {row}" if row is not None else None, f"column {column}" if column is not None else None]
    place = ", ".join(part for part in parts if part)
    text = " ".join(f"{place}: {what}".split() if place else what.split())
    return text if len(text) <= LONGEST_PROBLEM else text[: LONGEST_PROBLEM - 1] + "…"

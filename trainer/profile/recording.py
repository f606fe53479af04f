"""Findings kept with their places, for a profile instead of a message; two readings of the same rows count them once."""

from collections.abc import Iterable

from core.profile import Finding
from trainer.data.findings import LONGEST_PROBLEM, Findings
from trainer.errors import InvalidData

Key = tuple[str | None, int | None, str | None, str]


class Recorder(Findings):
    """Keeps the first ``most`` with their places, and of all others only that they were there."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.kept: list[Finding] = []
        self.keys: dict[int, bool] = {}  # hash of each finding -> whether it names a file
        self._most = most

    def bad_row(self, what: str, *, file: str | None = None, row: int | None = None, column: str | None = None) -> None:
        super().bad_row(what, file=file, row=row, column=column)
        self._keep(what, file, row, column)

    def fatal(self, what: str, *, file: str | None = None, row: int | None = None, column: str | None = None) -> None:
        super().fatal(what, file=file, row=row, column=column)
        self._keep(what, file, row, column)

    def refused(self, error: InvalidData) -> None:
        """For readers that raise what they find: it is noted unless it came from here."""
        if not self.has_fatal:
            for problem in error.problems:
                self.fatal(problem)

    def _keep(self, what: str, file: str | None, row: int | None, column: str | None) -> None:
        message = " ".join(what.split())
        if len(message) > LONGEST_PROBLEM:
            message = message[: LONGEST_PROBLEM - 1] + "…"
        key = hash((file, row, column, message))
        if key not in self.keys and len(self.kept) < self._most:
            self.kept.append(Finding(file=file, row=row, column=column, message=message))
        self.keys[key] = file is not None


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """What concerns the whole first, then file after file as they were read, each from its first row on; no two the same."""
    distinct = list(dict.fromkeys(findings))
    files = {file: number for number, file in enumerate(dict.fromkeys(finding.file for finding in distinct if finding.file is not None))}
    return sorted(distinct, key=lambda finding: (-1 if finding.file is None else files[finding.file], finding.row or 0))

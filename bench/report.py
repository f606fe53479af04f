"""Rows of figures, and RESULTS.md: a page of sections that are renewed one by one, each by its own bench."""

import platform
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    seen: str
    reach: str
    is_reached: bool | None
    command: str

    def __str__(self) -> str:
        verdict = {True: "reached", False: "MISSED", None: "for reference"}[self.is_reached]
        return f"| {self.what} | {self.seen} | {self.reach} | {verdict} | `{self.command}` |"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median with minimum and maximum."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f}, n={len(values)})"


def write(rows: Sequence[Row]) -> None:
    """The section of the service, from all its measurements."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "fastapi", "uvicorn", "sqlalchemy", "celery"))
    text = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d} at commit {commit}: {platform.machine()}, {_cores()} cores, "
        f"{platform.system()}, Python {platform.python_version()}, {versions}.",
        "Everything ran on one machine over loopback, client and server sharing the cores. `make bench` runs it all.",
        "",
        "| what | seen | reach | | command |",
        "|---|---|---|---|---|",
        *map(str, rows),
    ]
    replace_section("Service", text)


def replace_section(title: str, lines: Sequence[str]) -> None:
    """Writes the section of this title, in place of the one that is there or at the end of the page."""
    page = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    head, *sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    new = "\n".join([f"## {title}", "", *lines]) + "\n"
    places = [index for index, section in enumerate(sections) if section.startswith(f"## {title}\n")]
    if places:
        sections[places[0]] = new
    else:
        sections.append(new)
    RESULTS.write_text("\n".join(part.strip() + "\n" for part in (head, *sections)))


def _cores() -> int:
    return len(Path("/proc/cpuinfo").read_text().split("processor\t")) - 1

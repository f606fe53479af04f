"""A launch pad for the whole session, and the two ways to launch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from core.run_dir import RunDir
from tests.worker.leased import LeasedAttempt, leased_attempt
from tests.worker.trees import Site, start_pad
from worker.launcher import Launcher

# Enough to fork agents from; the whole list takes seconds more.
PAD_MODULES = ("torch.distributed.run", "trainer.agent")
How = Literal["warm", "cold"]


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a launch pad that is ready."""
    path = tmp_path_factory.mktemp("pad") / "door"
    with start_pad(path, PAD_MODULES) as pad:
        assert pad.stdout is not None
        assert '"ready": true' in pad.stdout.readline()
        yield path
        pad.terminate()
        assert pad.wait(10) == 0


@pytest.fixture(params=["warm", "cold"])
def how(request: pytest.FixtureRequest) -> How:
    """Runs the test with both ways to launch."""
    how: How = request.param
    return how


@pytest.fixture
def door_or_none(how: How, request: pytest.FixtureRequest) -> Path | None:
    return request.getfixturevalue("door") if how == "warm" else None


@pytest.fixture
def launcher(door_or_none: Path | None) -> Launcher:
    return Launcher(door_or_none)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(RunDir.create(tmp_path / "run"), tmp_path / "devices.lock")


@pytest.fixture
def attempt(sqlite_url: str, tmp_path: Path) -> Iterator[LeasedAttempt]:
    """A claimed job on a real server; nobody need renew its lease while a test lasts."""
    with leased_attempt(sqlite_url, tmp_path, lease_ttl_seconds=120.0) as found:
        yield found


@pytest.fixture
def short_lease(sqlite_url: str, tmp_path: Path) -> Iterator[LeasedAttempt]:
    """The same with a lease that is soon over."""
    with leased_attempt(sqlite_url, tmp_path, lease_ttl_seconds=2.0) as found:
        yield found

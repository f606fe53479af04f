"""Fixtures of the trainer's tests: a warm parent, the digits, and a way to launch attempts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.launching import Launch, WarmParent
from tests.trainer.on_ranks import OnRanks
from tests.trainer.packages import Packages
from trainer.data.digits import convert


@pytest.fixture(scope="session")
def warm_parent() -> Iterator[WarmParent]:
    parent = WarmParent()
    yield parent
    parent.close()


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "digits"
    convert(folder)
    return folder


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory, warm_parent: WarmParent) -> Packages:
    return Packages(tmp_path_factory.mktemp("packages"), warm_parent)


@pytest.fixture
def launch(tmp_path: Path, warm_parent: WarmParent, digits_dir: Path) -> Launch:
    return Launch(root=tmp_path, parent=warm_parent, data_dir=digits_dir)


@pytest.fixture
def on_ranks(launch: Launch) -> OnRanks:
    return OnRanks(launch=launch)

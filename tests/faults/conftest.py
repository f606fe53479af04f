"""One whole service per module on each kind of infrastructure; every test leaves it able to run the next job."""

from collections.abc import Iterator

import pytest

from tests.bed.databases import Databases
from tests.bed.servers import Servers
from tests.bed.stack import Stack


@pytest.fixture(scope="module")
def embedded(servers: Servers, databases: Databases) -> Iterator[Stack]:
    """SQLite and a private Redis on a unix socket, as `trainyard up` runs it."""
    with Stack(servers, databases, kind="embedded") as stack:
        yield stack


@pytest.fixture(scope="module")
def cluster(servers: Servers, databases: Databases) -> Iterator[Stack]:
    """PostgreSQL and Redis over TCP, as production runs it."""
    with Stack(servers, databases, kind="cluster") as stack:
        yield stack

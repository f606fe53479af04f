"""The service as it comes up, on each kind of infrastructure."""

from collections.abc import Iterator

import pytest

from tests.bed.databases import Databases
from tests.bed.servers import Servers
from tests.bed.stack import Kind, Stack


@pytest.fixture(scope="module", params=["embedded", "cluster"])
def stack(request: pytest.FixtureRequest, servers: Servers, databases: Databases) -> Iterator[Stack]:
    kind: Kind = request.param
    with Stack(servers, databases, kind=kind) as stack:
        yield stack

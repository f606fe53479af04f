"""A client without the settings of whoever runs the tests, and a server to be told what to answer."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from core.recipes import parse_spec
from core.wire.jobs import Job
from tests.client.scripted_server import ScriptedServer, scripted_server
from trainyard import Client
from trainyard.retrying import RetryPolicy

KEY = "ty_testtest_secret"
JOB = "job_00000000000000000000000001"


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ("TRAINYARD_URL", "TRAINYARD_API_KEY", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRAINYARD_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def naps() -> list[float]:
    """How long the client would have slept, each time."""
    return []


@pytest.fixture
def client(server: ScriptedServer, naps: list[float]) -> Iterator[Client]:
    retry = RetryPolicy(max_tries=4, draw=lambda: 0.0)
    with Client(server.url, KEY, timeout=5, retry=retry, sleep=naps.append) as client:
        yield client


def job_json(state: str = "queued", **changes: Any) -> str:
    """A job as the server would tell it."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    facts: dict[str, Any] = {
        "id": JOB,
        "name": "digits",
        "recipe": "scripted",
        "state": state,
        "is_terminal": state in ("succeeded", "failed", "cancelled"),
        "reason": None,
        "num_attempts": 0,
        "spec": parse_spec('{"recipe": "scripted"}'),
        "labels": {},
        "priority": 0,
        "created_at": now,
        "updated_at": now,
        "available_at": now,
    }
    return Job.model_validate({**facts, **changes}).model_dump_json()

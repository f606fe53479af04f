"""A client without the settings of whoever runs the tests, and a server to be told what to answer."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from core.recipes import parse_spec
from core.wire.jobs import Job
from core.wire.keys import Scope
from tests.api.serving import Served, serving
from tests.client.scripted_server import ScriptedServer, scripted_server
from trainyard import Client
from trainyard.cli.app import app
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


@pytest.fixture
def served(sqlite_url: str, tmp_path: Path) -> Iterator[Served]:
    """The real API on a fresh ledger."""
    with serving(sqlite_url, tmp_path) as served:
        yield served


class Terminal:
    """Runs ``trainyard`` commands as typed, against one server and with one key."""

    def __init__(self, url: str, key: str) -> None:
        self._environment = {"TRAINYARD_URL": url, "TRAINYARD_API_KEY": key, "COLUMNS": "200"}
        self._runner = CliRunner()

    def __call__(self, *arguments: str, code: int = 0, stdin: str | None = None) -> str:
        """What the command prints on stdout; it must end with this exit code."""
        said = self.run(*arguments, stdin=stdin)
        assert said.exit_code == code, (said.exit_code, said.output, said.exception)
        return said.stdout

    def complaint(self, *arguments: str, code: int) -> str:
        """What a failing command says on stderr; it says nothing on stdout."""
        said = self.run(*arguments)
        assert (said.exit_code, said.stdout) == (code, ""), said.output
        return said.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        return self._runner.invoke(app, arguments, env=self._environment, input=stdin)


@pytest.fixture
def trainyard(served: Served) -> Terminal:
    return Terminal(served.url, served.key(Scope.ADMIN))

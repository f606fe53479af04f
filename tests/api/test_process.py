"""The API as a process: what it refuses to start as, and what a kill -9 leaves behind."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.api.serving import SPEC
from tests.bed.databases import Databases
from tests.bed.processes import Process, free_port
from tests.bed.waiting import until

ROOT = Path(__file__).parents[2]


class ApiProcess:
    """``python -m api serve`` on a ledger of its own."""

    def __init__(self, url: str, folder: Path, **more: str) -> None:
        self.port = free_port()
        self.folder = folder
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "TRAINYARD_DATABASE_URL": url,
            "TRAINYARD_DATA_DIR": str(folder / "bytes"),
            "TRAINYARD_PORT": str(self.port),
            **more,
        }
        self.url = f"http://127.0.0.1:{self.port}"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command that ends by itself."""
        command = [sys.executable, "-m", "api", *arguments]
        return subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    def key(self, scopes: str = "admin") -> str:
        made = self.run("create-key", "--name", "test", "--scopes", scopes)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def serve(self, **more: str) -> Process:
        """The server, started and ready; with ``more`` environment."""
        process = Process(
            [sys.executable, "-m", "api", "serve"], log=self.folder / "api.log", environment={**self.environment, **more}, cwd=ROOT
        )
        process.start()
        until(lambda: self._is_ready(process), within=30, what="the API is ready", explain=process.log_tail)
        return process

    def _is_ready(self, process: Process) -> bool:
        assert process.is_running, process.log_tail()
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def client(self, key: str) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> ApiProcess:
    return ApiProcess(sqlite_url, tmp_path)


@pytest.fixture
def running(api: ApiProcess) -> Iterator[Process]:
    process = api.serve()
    yield process
    process.stop()


def test_promise_22_a_public_bind_without_a_key_is_refused_with_the_way_out(api: ApiProcess) -> None:
    api.environment["TRAINYARD_HOST"] = "0.0.0.0"
    refused = api.run("serve")
    assert refused.returncode == 1
    assert "create-key" in refused.stderr
    assert "Traceback" not in refused.stderr
    key = api.key()
    process = api.serve()
    try:
        with api.client(key) as client:
            assert client.get("/v1/jobs").status_code == 200
            assert httpx2.get(f"{api.url}/v1/jobs").status_code == 401
            assert httpx2.get(f"{api.url}/metrics").status_code == 401
            assert client.get("/metrics").status_code == 200
    finally:
        process.stop()


def test_pending_migrations_are_refused_with_the_command_and_served_with_migrate(databases: Databases, tmp_path: Path) -> None:
    api = ApiProcess(f"sqlite:///{tmp_path}/new/ledger.db", tmp_path)
    refused = api.run("serve")
    assert (refused.returncode, "python -m api migrate" in refused.stderr) == (1, True)
    assert api.run("create-key", "--name", "x", "--scopes", "admin").returncode == 1
    assert api.run("migrate").returncode == 0
    assert api.key().startswith("ty_")


def test_a_second_process_on_one_sqlite_file_is_refused_and_a_kill_frees_it(api: ApiProcess, running: Process) -> None:
    refused = api.run("serve")
    assert refused.returncode == 1
    assert "another API process" in refused.stderr
    running.kill9()
    api.serve().stop()


def test_wrong_settings_name_their_variable(api: ApiProcess) -> None:
    api.environment["TRAINYARD_PORT"] = "eighty"
    refused = api.run("serve")
    assert (refused.returncode, "TRAINYARD_PORT" in refused.stderr) == (2, True)


def test_a_stop_ends_long_polls_and_streams_at_once(api: ApiProcess, running: Process) -> None:
    key = api.key()
    with api.client(key) as client, api.client(key) as second, ThreadPoolExecutor() as pool:
        job_id = client.post("/v1/jobs", json=SPEC).json()["id"]
        polling = pool.submit(second.get, f"/v1/jobs/{job_id}", params={"wait": 60})
        with client.stream("GET", f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "retry: 3000"
            until(lambda: polling.running(), within=5)
            started = time.monotonic()
            assert running.stop() == 0
            assert time.monotonic() - started < 5
            list(lines)
        assert polling.result(timeout=5).json()["state"] == "queued"


def test_promise_1_a_job_answered_before_a_kill_is_there_after_it(api: ApiProcess, running: Process) -> None:
    key = api.key()
    with api.client(key) as client:
        made = [client.post("/v1/jobs", json=SPEC).json()["id"] for _ in range(20)]
    running.kill9()
    process = api.serve()
    with api.client(key) as client:
        assert [job["id"] for job in client.get("/v1/jobs").json()["data"]] == made[::-1]
    process.stop()


@pytest.mark.parametrize(("place", "survives"), [("submit.before_commit", False), ("submit.after_commit", True)])
def test_promise_15_a_kill_between_commit_and_answer_makes_one_job(api: ApiProcess, place: str, survives: bool) -> None:
    key = api.key()
    headers = {"Idempotency-Key": "across-a-kill"}
    process = api.serve(TRAINYARD_FAILPOINT=f"{place}:kill")
    with api.client(key) as client, pytest.raises(httpx2.TransportError):
        client.post("/v1/jobs", json=SPEC, headers=headers)
    assert process.wait(10) == -9
    process = api.serve()
    with api.client(key) as client:
        before = [job["id"] for job in client.get("/v1/jobs").json()["data"]]
        assert len(before) == (1 if survives else 0)
        answer = client.post("/v1/jobs", json=SPEC, headers=headers)
        assert answer.status_code == 201
        assert answer.headers.get("idempotent-replayed") == ("true" if survives else None)
        after = client.get("/v1/jobs").json()["data"]
        assert [job["id"] for job in after] == (before or [answer.json()["id"]])
    process.stop()


def test_the_process_is_small_and_never_loads_torch(api: ApiProcess, running: Process) -> None:
    with api.client(api.key()) as client:
        for _ in range(1000):
            assert client.post("/v1/jobs", json=SPEC).status_code == 201
        assert client.get("/v1/jobs", params={"limit": 200}).status_code == 200
    process = psutil.Process(running.pid)
    assert process.memory_info().rss <= 150 << 20
    assert not [file.path for file in process.memory_maps() if "torch" in file.path or "numpy" in file.path]


def test_the_openapi_command_prints_the_document(api: ApiProcess) -> None:
    printed = api.run("openapi")
    assert printed.returncode == 0, printed.stderr
    assert "/v1/jobs/{job_id}" in json.loads(printed.stdout)["paths"]


def test_promise_24_no_secret_is_written_to_the_log(api: ApiProcess) -> None:
    key = api.key()
    process = api.serve(TRAINYARD_LOG_LEVEL="debug")
    with api.client(key) as client:
        client.post("/v1/jobs", json=SPEC)
        made = client.post("/v1/keys", json={"name": "x", "scopes": ["read"]}).json()["key"]
        client.get("/v1/jobs", headers={"Authorization": f"Bearer {key[:-1]}"})
    process.stop()
    text = (api.folder / "api.log").read_text()
    assert "request.answered" in text
    assert key not in text
    assert made not in text

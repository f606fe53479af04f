"""A node that lets models be tried out: a real API, real processes with models, and what happens when these are killed or stuck."""

import fcntl
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from core.settings import WorkerSettings
from core.wire.keys import Scope
from tests.api.serving import Client, Served, serving
from tests.api.shipping import sha256_of
from tests.bed.databases import Databases
from tests.bed.waiting import until
from tests.worker.packages import offline, write_package
from worker.cache_pruning import CacheLimits, prune_cache
from worker.predictions.api import PredictionsApi
from worker.predictions.host import Host, HostFacts
from worker.predictions.memory import memory_of_a_model, node_bytes

PATIENCE = 60.0
MODELS = ("one", "two", "three")


class Site:
    """A server with three models, and callers that wait in threads."""

    def __init__(self, served: Served, root: Path, callers: ThreadPoolExecutor) -> None:
        self.served = served
        self.root = root
        self.client = served.client(Scope.SUBMIT)
        self._callers = callers
        self.packages = {name: write_package(root / "packages" / name, seed=seed) for seed, name in enumerate(MODELS)}
        for name, folder in self.packages.items():
            push(self.client, name, {path.name: path.read_bytes() for path in folder.iterdir()})

    def ask(self, name: str, *xs: float | str, timeout: float = PATIENCE) -> "Future[httpx2.Response]":
        body = {"rows": [{"x": x} for x in xs]}
        return self._callers.submit(
            lambda: self.client.post(f"/v1/models/{name}/predict", json=body, params={"timeout_seconds": timeout}, timeout=timeout + 10)
        )

    def right(self, name: str, *xs: float) -> list[float]:
        return offline(self.packages[name], list(xs), self.root / "offline")

    @contextmanager
    def host(self, **changes: float) -> Iterator[Host]:
        api = PredictionsApi(self.served.url, self.served.key(Scope.WORKER))
        number = len(list(self.root.glob("node*")))
        home = self.root / f"node{number}"
        facts = HostFacts(
            **{
                "url": self.served.url,
                "node": "node-1",
                "cache": home / "cache",
                "home": home / "predictions",
                "environ": dict(os.environ),
                "max_loaded": 2,
                "idle_seconds": 60.0,
                **changes,
            }  # type: ignore[arg-type]
        )
        host = Host(api, facts)
        thread = threading.Thread(target=host.run)
        thread.start()
        try:
            yield host
        finally:
            host.stop()
            self.client.post("/v1/models/one/predict", json={"rows": [{"x": 1}]}, params={"timeout_seconds": 0.1})  # ends its long-poll
            thread.join(PATIENCE)
            assert not thread.is_alive()
            assert models_processes() == []


def push(client: Client, name: str, files: dict[str, bytes]) -> None:
    listed = []
    for path, content in files.items():
        assert client.put(f"/v1/uploads/{sha256_of(content)}", params={"size": len(content)}, content=content).status_code == 200
        listed.append({"path": path, "size": len(content), "sha256": sha256_of(content)})
    answer = client.post(f"/v1/models/{name}/versions", json={"files": listed})
    assert answer.status_code in (200, 201), answer.text


def models_processes() -> list[int]:
    """The processes with models in them that this process has started."""
    found = []
    for pid in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        found += [int(text) for text in pid.read_text().split() if b"trainer.predict.serve" in Path(f"/proc/{text}/cmdline").read_bytes()]
    return found


def memory_limit(pid: int) -> str:
    return next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max data size"))


def test_a_model_gets_half_of_what_its_container_may_take(tmp_path: Path) -> None:
    machine = node_bytes(tmp_path / "no such file")
    assert machine > 1 << 28
    (tmp_path / "memory.max").write_text("max\n")
    assert node_bytes(tmp_path / "memory.max") == machine
    (tmp_path / "memory.max").write_text("1000000\n")
    assert node_bytes(tmp_path / "memory.max") == 1_000_000
    settings = WorkerSettings(worker_token=SecretStr("t"), accelerator="cpu")
    assert memory_of_a_model(settings) == node_bytes() // 2
    assert memory_of_a_model(settings.model_copy(update={"predictor_max_bytes": 1 << 31})) == 1 << 31


def predictions(answer: httpx2.Response) -> list[float]:
    assert answer.status_code == 200, answer.text
    return [row["prediction"] for row in answer.json()["predictions"]]


@pytest.fixture(scope="module")
def site(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    with serving(databases.fresh_url("sqlite", root), root) as served, ThreadPoolExecutor(8) as callers:
        yield Site(served, root, callers)


def test_a_life_of_models_in_memory(site: Site) -> None:
    """Loaded by the first request, asked in batches, the least recently used one unloaded for a third."""
    with site.host(max_bytes=3 << 30) as host:
        first = site.ask("one", 1.5)
        until(models_processes, within=PATIENCE, what="the first model is being loaded")
        together = [site.ask("one", *xs) for xs in ((1.0,), (2.0, 3.0), (4.0, 5.0, 6.0))]

        assert predictions(first.result()) == pytest.approx(site.right("one", 1.5), abs=1e-6)
        assert first.result().json()["timing"]["load_seconds"] > 0
        assert [predictions(one.result()) for one in together] == [
            pytest.approx(site.right("one", *xs), abs=1e-6) for xs in ((1.0,), (2.0, 3.0), (4.0, 5.0, 6.0))
        ]
        timings = [one.result().json()["timing"] for one in together]
        assert {timing["batch_size"] for timing in timings} == {6}
        assert {timing["load_seconds"] for timing in timings} == {0.0}

        assert f"{3 << 30}" in memory_limit(models_processes()[0])
        one = host.loaded
        assert predictions(site.ask("two", 2.0).result()) == pytest.approx(site.right("two", 2.0), abs=1e-6)
        assert predictions(site.ask("one", 2.0).result()) != predictions(site.ask("two", 2.0).result())
        assert site.ask("one", 2.0).result().status_code == 200
        assert predictions(site.ask("three", 2.0).result()) == pytest.approx(site.right("three", 2.0), abs=1e-6)
        assert len(host.loaded) == len(models_processes()) == 2
        assert one[0] in host.loaded, "the one that was used longest ago had to go"
        cache = max(site.root.glob("node*")) / "cache"
        assert len(prune_cache(cache, CacheLimits(max_bytes=0, max_age=timedelta()))) == 1, "the packages of those in memory stay"


def test_idle_models_are_unloaded(site: Site) -> None:
    with site.host(idle_seconds=0.5) as host:
        assert site.ask("one", 1.0).result().status_code == 200
        until(lambda: not host.loaded and not models_processes(), within=PATIENCE, what="idle models are unloaded")


@pytest.fixture(scope="module")
def busy(site: Site) -> Iterator[Site]:
    """A host that has the first model in memory."""
    with site.host():
        assert site.ask("one", 1.0).result().status_code == 200
        yield site


@pytest.fixture
def pid(busy: Site) -> int:
    """The process that holds the first model."""
    assert busy.ask("one", 1.0).result().status_code == 200
    (found,) = models_processes()
    return found


def test_a_bad_row_is_told_with_its_place_and_the_process_serves_on(busy: Site) -> None:
    before = models_processes()
    answer = busy.ask("one", 1.0, "heavy", 2.0).result()
    assert answer.status_code == 422
    assert [item["pointer"] for item in answer.json()["errors"]] == ["/rows/1"]
    assert "'heavy' is not a number" in answer.json()["detail"]
    assert busy.ask("one", 1.0).result().status_code == 200
    assert models_processes() == before


def test_a_killed_process_fails_what_it_had_and_is_started_anew(busy: Site, pid: int) -> None:
    with stopped(pid):
        asked = busy.ask("one", 1.0)
        until(lambda: num_unread(pid), within=10, what="the process has the request")
        os.kill(pid, signal.SIGKILL)
    answer = asked.result()
    assert answer.status_code == 503, answer.text
    assert "was killed by signal 9" in answer.json()["detail"]
    assert predictions(busy.ask("one", 1.0).result()) == pytest.approx(busy.right("one", 1.0), abs=1e-6)
    assert models_processes() not in ([], [pid])


def test_a_process_that_died_unasked_is_missed_by_nobody(busy: Site, pid: int) -> None:
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([handle], [], [], 10)[0], "it is dead, not only dying"
    os.close(handle)
    answer = busy.ask("one", 1.0).result()
    assert predictions(answer) == pytest.approx(busy.right("one", 1.0), abs=1e-6)
    assert answer.json()["timing"]["load_seconds"] > 0


def test_a_stuck_process_is_killed_when_nobody_waits_any_more(busy: Site, pid: int) -> None:
    with stopped(pid):
        answer = busy.ask("one", 1.0, timeout=0.5).result()
        assert (answer.status_code, "node-1 has it" in answer.json()["detail"]) == (503, True)
        until(lambda: pid not in models_processes(), within=10, what="the stuck process is gone")
    assert busy.ask("one", 1.0).result().status_code == 200


def test_what_no_predictor_can_read_is_refused(busy: Site) -> None:
    weights = (busy.packages["one"] / "model.safetensors").read_bytes()
    push(busy.client, "foreign", {"model.safetensors": weights, "config.json": b'{"model_type": "bert"}'})
    answer = busy.ask("foreign", 1.0).result()
    assert answer.status_code == 422, answer.text
    assert "this model cannot predict" in answer.json()["detail"]
    assert str(busy.root) not in answer.text


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if pid in models_processes():
            os.kill(pid, signal.SIGCONT)


def num_unread(pid: int) -> int:
    """Bytes that wait in the pipe at the standard input of a process."""
    with open(f"/proc/{pid}/fd/0", "rb") as source:
        return int.from_bytes(fcntl.ioctl(source, termios.FIONREAD, bytes(4)), sys.byteorder)

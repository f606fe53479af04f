"""The doorbell against a real Redis: heard by every worker, never waited for, never the reason of a failure."""

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from kombu import Connection
from kombu.common import Broadcast
from pydantic import SecretStr

from api.doorbell import CeleryBell, Doorbell, NoBell
from api.measures import Measures
from tests.api.serving import SPEC, Client, serving
from tests.bed.redis import RedisServer
from tests.bed.servers import Servers
from tests.bed.waiting import until


@pytest.fixture
def redis_server(servers: Servers) -> RedisServer:
    return servers.new_redis(socket=True)


class Listener:
    """A worker's ear: counts the rings that it hears."""

    def __init__(self, url: str) -> None:
        self.heard: list[str] = []
        self._connection = Connection(url)
        self._consumer = self._connection.Consumer([Broadcast("trainyard.doorbell")], callbacks=[self._note], accept=["json"])
        self._consumer.consume()
        self._is_closing = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def close(self) -> None:
        self._is_closing = True
        self._thread.join()
        self._connection.release()

    def _listen(self) -> None:
        while not self._is_closing:
            try:
                self._connection.drain_events(timeout=0.05)
            except TimeoutError:
                continue

    def _note(self, _body: object, message: object) -> None:
        self.heard.append(message.headers["task"])  # type: ignore[attr-defined]
        message.ack()  # type: ignore[attr-defined]


@pytest.fixture
def listeners(redis_server: RedisServer) -> Iterator[list[Listener]]:
    found = [Listener(redis_server.url) for _ in range(2)]
    yield found
    for listener in found:
        listener.close()


def test_every_worker_hears_a_ring(redis_server: RedisServer, listeners: list[Listener]) -> None:
    with Doorbell(CeleryBell(redis_server.url), Measures()) as bell:
        until(lambda: bell.ring() or all(listener.heard for listener in listeners), within=10, what="both hear it", pause=0.2)
    assert listeners[0].heard[0] == "worker.tasks.look_for_work"


def test_a_burst_of_rings_becomes_few(redis_server: RedisServer, listeners: list[Listener]) -> None:
    with Doorbell(CeleryBell(redis_server.url), Measures()) as bell:
        until(lambda: bell.ring() or listeners[0].heard, within=10, pause=0.2)
        before = len(listeners[0].heard)
        for _ in range(10_000):
            bell.ring()
    until(lambda: len(listeners[0].heard) > before, within=5)
    assert len(listeners[0].heard) - before < 500


def test_a_dead_broker_is_counted_and_a_new_one_is_used_without_a_restart(redis_server: RedisServer) -> None:
    measures = Measures()

    def failures() -> float:
        return measures.registry.get_sample_value("trainyard_doorbell_failures_total") or 0.0

    with Doorbell(CeleryBell(redis_server.url), measures) as bell:
        bell.ring()
        redis_server.kill9()
        until(lambda: bell.ring() or failures() >= 1, within=10, what="a failed ring is counted", pause=0.1)
        redis_server.start()
        listener = Listener(redis_server.url)
        until(lambda: bell.ring() or listener.heard, within=10, what="it rings again", pause=0.2)
        listener.close()


def test_promise_4_a_submit_is_answered_in_time_whatever_the_broker_does(sqlite_url: str, tmp_path: Path) -> None:
    """Nothing listens at one address; at the other a listener takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closing:
        ports = [silent.getsockname()[1], closing.getsockname()[1]]
        closing.close()
        for number, port in enumerate(ports):
            broker = SecretStr(f"redis://127.0.0.1:{port}/0")
            with serving(sqlite_url, tmp_path / str(number), broker_url=broker) as served:
                client = served.client()
                started = time.monotonic()
                assert client.post("/v1/jobs", json=SPEC).status_code == 201
                assert time.monotonic() - started < 3
                until(partial(_failures, client), within=10, what="the failed ring is counted")


def _failures(client: Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("trainyard_doorbell_failures_total")))


def test_without_a_broker_nothing_fails() -> None:
    measures = Measures()
    with Doorbell(NoBell(), measures) as bell:
        bell.ring()
    assert measures.registry.get_sample_value("trainyard_doorbell_failures_total") == 0.0

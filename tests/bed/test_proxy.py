"""The fault proxy does to connections what it says, against a real Redis."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.bed.proxy import Proxy, Target
from tests.bed.servers import Servers

NO_RETRY = Retry(NoBackoff(), 0)


@dataclass(frozen=True)
class Line:
    """A proxy in front of a Redis, and how to get through it."""

    proxy: Proxy
    password: str

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.proxy.port, password=self.password or None, socket_timeout=0.5, retry=NO_RETRY)


@pytest.fixture(params=["tcp", "unix"])
def line(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Line]:
    server = servers.new_redis(socket=request.param == "unix")
    target: Target = server.socket or ("127.0.0.1", server.port)
    with Proxy(target) as proxy:
        yield Line(proxy, server.password)


def test_in_clear_weather_it_is_not_noticed(line: Line) -> None:
    with line.client() as client:
        client.set("payload", b"x" * 300_000)
        assert client.strlen("payload") == 300_000


def test_a_cut_ends_what_is_connected_and_the_next_attempt_works(line: Line) -> None:
    with line.client() as client:
        assert client.ping()
        connection = client.connection_pool.get_connection()
        line.proxy.cut()
        with pytest.raises(redis.exceptions.ConnectionError):
            _ask(connection)
        connection.disconnect()
        assert client.ping()


def test_refused_connections_are_refused_until_the_weather_clears(line: Line) -> None:
    with line.client() as client:
        with line.proxy.under(refuses=True), pytest.raises(redis.exceptions.ConnectionError):
            client.ping()
        assert client.ping()


def test_a_half_open_connection_swallows_bytes_without_a_word(line: Line) -> None:
    with line.client() as client:
        assert client.ping()
        with line.proxy.under(drops=True), pytest.raises(redis.exceptions.TimeoutError):
            client.ping()


def test_latency_is_added_both_ways(line: Line) -> None:
    with line.client() as client:
        assert client.ping()
        with line.proxy.under(latency_seconds=0.1):
            began = time.monotonic()
            assert client.ping()
            assert time.monotonic() - began >= 0.2


def test_a_dead_target_is_a_cut_connection(line: Line, servers: Servers) -> None:
    server = servers.new_redis()
    with Proxy(("127.0.0.1", server.port)) as proxy:
        server.kill9()
        with redis.Redis(port=proxy.port, socket_timeout=0.5, retry=NO_RETRY) as client, pytest.raises(redis.exceptions.ConnectionError):
            client.ping()


def _ask(connection: redis.Connection) -> object:
    connection.send_command("PING")  # type: ignore[no-untyped-call]
    return connection.read_response()

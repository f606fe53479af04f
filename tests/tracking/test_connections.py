"""Many connections, idle ones and halves of requests: nobody is kept out for long."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection

import pytest

from tests.bed.waiting import until
from tests.tracking.serving import GET_RUN, Attempt
from worker.tracking.connections import MAX_CONNECTIONS


@pytest.fixture
def attempt(served: Attempt) -> Attempt:
    return served


@contextmanager
def connected(attempt: Attempt, number: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", attempt.port), timeout=20)) for _ in range(number)]


def test_two_hundred_connections_that_say_nothing_keep_nobody_out(attempt: Attempt) -> None:
    with connected(attempt, 200):
        assert all(attempt.lives() for _ in range(5))


def test_two_hundred_halves_of_a_request_end_and_the_server_goes_on(attempt: Attempt) -> None:
    with connected(attempt, 200) as connections:
        for connection in connections[:MAX_CONNECTIONS]:
            connection.sendall(b"POST /kubeflow/status HTTP/1.1\r\nHost:")
    until(lambda: _lives_or_refuses(attempt), within=20, what="an answer, once the halves have hung up")


def _lives_or_refuses(attempt: Attempt) -> bool:
    try:
        return attempt.lives()
    except OSError:
        return False


def test_two_hundred_clients_at_once_are_all_served(attempt: Attempt) -> None:
    failed: list[object] = []

    def tell(number: int) -> None:
        try:
            until(lambda: _told(attempt, number), within=30)
        except AssertionError as error:
            failed.append(error)

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert sorted(step for step, _ in attempt.series("loss")) == list(range(200))


def _told(attempt: Attempt, number: int) -> bool:
    """As the client does: again, when the connection was refused."""
    try:
        return attempt.log_metric("loss", number, number)[0] == 200
    except OSError:
        return False


def test_a_kept_connection_serves_many_requests(attempt: Attempt) -> None:
    connection = HTTPConnection("127.0.0.1", attempt.port, timeout=20)
    connection.connect()
    first = connection.sock
    for path in (GET_RUN, "/nowhere", GET_RUN):
        connection.request("GET", path, headers={"Authorization": f"Bearer {attempt.token}"})
        assert connection.getresponse().read()
        assert connection.sock is first
    connection.close()

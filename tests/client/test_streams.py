"""Event streams over broken connections: nothing missed, nothing twice, and an end."""

from datetime import UTC, datetime

import pytest

from core.wire.jobs import Event, LogPage
from tests.client.conftest import JOB
from tests.client.scripted_server import Asked, Reply, ScriptedServer, problem
from trainyard import Client
from trainyard.errors import BadAnswer, CannotConnect, NotFound

EVENTS = f"/v1/jobs/{JOB}/events"
LOGS = f"/v1/jobs/{JOB}/logs"
SSE = {"Content-Type": "text/event-stream; charset=utf-8"}


def event_text(seq: int) -> bytes:
    event = Event(seq=seq, type="job.submitted", at=datetime(2026, 1, 1, tzinfo=UTC), message=f"nr {seq} äöü")
    return f"id: {seq}\ndata: {event.model_dump_json()}\n\n".encode()


def journal(last: int, *, cut_at: list[int]) -> "list[object]":
    """A server with ``last`` events whose connections break after so many bytes each, and that says 204 in the end."""

    def answer(asked: Asked) -> Reply:
        after = int(asked.headers.get("last-event-id", "0"))
        if after == last:
            return Reply(204)
        body = b"retry: 3000\n\n: ping\n\n" + b"".join(event_text(seq) for seq in range(after + 1, last + 1))
        return Reply(200, body, SSE, cut_after=cut_at.pop(0) if cut_at else None)

    return [answer]


@pytest.mark.parametrize("cut_at", [[], [1], [30, 200, 201], [400, 400, 400], [0, 170, 0, 190]])
def test_promise_16_a_stream_goes_on_behind_the_last_whole_event(client: Client, server: ScriptedServer, cut_at: list[int]) -> None:
    server.on("GET", EVENTS, *journal(20, cut_at=cut_at))  # type: ignore[arg-type]
    events = list(client.events(JOB, follow_on=True))
    assert [event.seq for event in events] == list(range(1, 21))
    assert events[-1].message == "nr 20 äöü"


def test_promise_16_every_possible_cut_of_a_stream_loses_and_repeats_nothing(client: Client, server: ScriptedServer) -> None:
    length = len(b"retry: 3000\n\n: ping\n\n") + sum(len(event_text(seq)) for seq in (1, 2, 3))
    for cut in range(0, length, 3):
        answers = journal(3, cut_at=[cut])
        server._answers["GET", EVENTS] = answers  # type: ignore[assignment]
        assert [event.seq for event in client.events(JOB, follow_on=True)] == [1, 2, 3], cut


def test_a_stream_is_asked_for_with_its_place_and_type(client: Client, server: ScriptedServer) -> None:
    server.on("GET", EVENTS, *journal(3, cut_at=[]))  # type: ignore[arg-type]
    assert [event.seq for event in client.events(JOB, after=2, follow_on=True)] == [3]
    assert server.asked[0].headers["accept"] == "text/event-stream"
    assert [asked.headers["last-event-id"] for asked in server.asked] == ["2", "3"]


def test_a_stream_that_only_breaks_ends_in_an_error(client: Client, server: ScriptedServer, naps: list[float]) -> None:
    server.on("GET", EVENTS, Reply(200, event_text(1), SSE, cut_after=5))
    with pytest.raises(CannotConnect, match="keeps ending"):
        list(client.events(JOB, follow_on=True))
    assert naps[:4] == [0.25, 0.5, 1.0, 2.0]
    assert (len(naps), max(naps)) == (11, 8.0)


def test_a_stream_of_an_unknown_job_is_not_found(client: Client, server: ScriptedServer) -> None:
    server.on("GET", EVENTS, problem(404, "not_found", "no such job"))
    with pytest.raises(NotFound):
        list(client.events(JOB, follow_on=True))


def test_an_answer_that_is_no_stream_is_refused(client: Client, server: ScriptedServer) -> None:
    server.on("GET", EVENTS, Reply(200, b"{}", {"Content-Type": "application/json"}))
    with pytest.raises(BadAnswer, match="application/json"):
        list(client.events(JOB, follow_on=True))


def test_logs_are_the_pieces_between_attempts_and_the_end(client: Client, server: ScriptedServer) -> None:
    piece = LogPage(job_id=JOB, attempt=1, rank=0, stream="stdout", offset=0, next_offset=3, text="hi\n", is_complete=False)
    body = (
        b'id: 1:\nevent: attempt\ndata: {"attempt": 1}\n\n'
        + f"id: 1:0.stdout.3\nevent: log\ndata: {piece.model_dump_json()}\n\n".encode()
        + b"id: 1:0.stdout.3\nevent: end\ndata: {}\n\n"
    )
    server.on("GET", LOGS, Reply(200, body, SSE))
    assert list(client.logs(JOB, rank=0)) == [piece]
    assert len(server.asked) == 1
    assert server.asked[0].query == {"rank": ["0"]}

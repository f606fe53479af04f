"""What the client does when the network or the server does not: retries that do no harm, and errors with a type."""

import json
import socket

import pytest

from tests.client.conftest import JOB, KEY, job_json
from tests.client.scripted_server import Reply, ScriptedServer, json_reply, problem
from trainyard import Client
from trainyard.errors import (
    ApiError,
    BadAnswer,
    CannotConnect,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerError,
    Unauthenticated,
)
from trainyard.retrying import RetryPolicy

SPEC = {"recipe": "scripted"}


def test_every_request_carries_the_key_and_names_the_client(client: Client, server: ScriptedServer) -> None:
    server.on("GET", f"/v1/jobs/{JOB}", json_reply(job_json()))
    client.job(JOB)
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.asked[0].headers["user-agent"].startswith("trainyard/")


def test_a_busy_server_is_asked_again_after_as_long_as_it_says(client: Client, server: ScriptedServer, naps: list[float]) -> None:
    server.on(
        "GET",
        f"/v1/jobs/{JOB}",
        problem(503, "unavailable", "later", Retry_After="3"),
        problem(429, "slow", "slow"),
        json_reply(job_json()),
    )
    assert client.job(JOB).id == JOB
    assert naps == [3.0, 0.5]


def test_an_answer_that_breaks_off_is_asked_for_again(client: Client, server: ScriptedServer) -> None:
    whole = json_reply(job_json())
    server.on("GET", f"/v1/jobs/{JOB}", Reply(200, whole.body, whole.headers, cut_after=20), whole)
    assert client.job(JOB).id == JOB


def test_promise_15_a_submission_is_repeated_under_the_same_idempotency_key(client: Client, server: ScriptedServer) -> None:
    made = json_reply(job_json(), 201)
    server.on(
        "POST", "/v1/jobs", Reply(201, made.body, made.headers, cut_after=10), problem(409, "request_in_flight", "x", Retry_After="1"), made
    )
    assert client.submit(SPEC).id == JOB
    keys = [asked.headers["idempotency-key"] for asked in server.requests("POST", "/v1/jobs")]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    client.submit(SPEC)
    assert server.asked[-1].headers["idempotency-key"] != keys[0]


def test_what_would_do_harm_twice_is_not_repeated_once_it_was_sent(client: Client, server: ScriptedServer) -> None:
    paused = json_reply(job_json("paused"))
    server.on("POST", f"/v1/jobs/{JOB}/pause", Reply(200, paused.body, paused.headers, cut_after=10), paused)
    with pytest.raises(CannotConnect):
        client.pause(JOB)
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_told_with_its_address_after_every_try(naps: list[float]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        retry = RetryPolicy(max_tries=3, draw=lambda: 0.0)
        with Client(url, KEY, retry=retry, sleep=naps.append) as client, pytest.raises(CannotConnect, match=url):
            client.submit(SPEC)
    assert naps == [0.25, 0.5]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, ServerError),
    ],
)
def test_a_refusal_becomes_an_error_of_its_own_type(client: Client, server: ScriptedServer, status: int, kind: type[ApiError]) -> None:
    findings = json.dumps([{"pointer": "/seed", "message": "too large", "code": "less_than_equal"}])
    server.on("GET", f"/v1/jobs/{JOB}", problem(status, "some_code", "some words", errors=findings))
    with pytest.raises(kind) as caught:
        client.job(JOB)
    error = caught.value
    assert (error.status, error.code, error.message, error.request_id) == (status, "some_code", "some words", "req_1")
    assert [(detail.pointer, detail.message) for detail in error.errors] == [("/seed", "too large")]


def test_a_refusal_by_something_else_on_the_way_is_quoted_and_cut_short(client: Client, server: ScriptedServer) -> None:
    server.on("GET", f"/v1/jobs/{JOB}", Reply(400, b"<html>" + b"no " * 500, {"X-Request-Id": "req_9"}))
    with pytest.raises(InvalidRequest, match="answered 400: <html>no no") as caught:
        client.job(JOB)
    assert len(caught.value.message) < 300
    assert caught.value.request_id == "req_9"


def test_an_answer_of_another_service_is_not_taken_for_a_job(client: Client, server: ScriptedServer) -> None:
    server.on("GET", f"/v1/jobs/{JOB}", json_reply('{"hello": "world"}'))
    with pytest.raises(BadAnswer, match="not understood"):
        client.job(JOB)


def test_lists_are_read_page_by_page_up_to_the_limit(client: Client, server: ScriptedServer) -> None:
    def page(*ids: str, more: bool) -> Reply:
        items = ",".join(job_json(id=item) for item in ids)
        flag = str(more).lower()
        return json_reply(f'{{"object":"list","data":[{items}],"has_more":{flag},"first_id":"{ids[0]}","last_id":"{ids[-1]}"}}')

    server.on("GET", "/v1/jobs", page("job_3", "job_2", more=True), page("job_1", more=False))
    assert [job.id for job in client.jobs(state="queued")] == ["job_3", "job_2", "job_1"]
    assert server.asked[1].query["after"] == ["job_2"]
    assert server.asked[1].query["state"] == ["queued"]
    server.on("GET", "/v1/jobs", page("job_3", "job_2", more=True))
    assert len(list(client.jobs(limit=1))) <= 2
    assert server.asked[-1].query["limit"] == ["1"]


def test_waiting_tells_each_change_once_and_ends_with_the_job(client: Client, server: ScriptedServer) -> None:
    path = f"/v1/jobs/{JOB}"
    server.on(
        "GET",
        path,
        json_reply(job_json(), ETag='"1"'),
        Reply(304, headers={"ETag": '"1"'}),
        json_reply(job_json("running"), ETag='"2"'),
        json_reply(job_json("succeeded"), ETag='"3"'),
    )
    seen: list[str] = []
    job = client.wait(JOB, on_change=lambda job: seen.append(job.state))
    assert job.is_terminal
    assert seen == ["queued", "running", "succeeded"]
    assert [asked.headers.get("if-none-match") for asked in server.asked] == [None, '"1"', '"1"', '"2"']


def test_waiting_ends_with_a_timeout_error_when_the_job_does_not(client: Client, server: ScriptedServer) -> None:
    server.on("GET", f"/v1/jobs/{JOB}", json_reply(job_json(), ETag='"1"'), Reply(304))
    with pytest.raises(TimeoutError, match=JOB):
        client.wait(JOB, timeout=0.05)


def test_a_wait_rides_out_a_restart_of_the_server(client: Client, server: ScriptedServer, naps: list[float]) -> None:
    away = [problem(503, "unavailable", "starting")] * 8
    server.on("GET", f"/v1/jobs/{JOB}", json_reply(job_json(), ETag='"1"'), *away, json_reply(job_json("succeeded"), ETag='"2"'))
    assert client.wait(JOB).is_terminal
    assert sum(naps) > 20

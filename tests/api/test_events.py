"""A job's journal over HTTP: pages, long-poll, and a stream that resumes without a gap or a repeat."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.api.serving import Client, Json, Node, Served
from tests.bed.waiting import until

STREAM = {"Accept": "text/event-stream"}


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Json]]:
    """The id and the data of each event."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and "data" in fields:
            yield fields["id"], json.loads(fields["data"])
            fields = {}


def test_events_come_as_pages_oldest_first(admin: Client) -> None:
    job_id = admin.submit()
    admin.post(f"/v1/jobs/{job_id}/pause")
    admin.post(f"/v1/jobs/{job_id}/resume")
    first = admin.get(f"/v1/jobs/{job_id}/events", params={"limit": 2}).json()
    assert ([event["seq"] for event in first["data"]], first["has_more"], first["last_id"]) == ([1, 2], True, "2")
    rest = admin.get(f"/v1/jobs/{job_id}/events", params={"after": first["last_id"]}).json()
    assert [event["seq"] for event in rest["data"]] == [3]
    assert rest["has_more"] is False


def test_a_page_can_wait_for_the_next_event(served: Served, admin: Client) -> None:
    job_id = admin.submit()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(admin.get, f"/v1/jobs/{job_id}/events", params={"after": 1, "wait": 30})
        until(lambda: job_id in served.state.live.watched(), within=10)
        admin.post(f"/v1/jobs/{job_id}/cancel")
        assert [event["type"] for event in waiting.result(timeout=10).json()["data"]] == ["job.cancelled"]


def test_a_stream_follows_a_job_to_its_end(served: Served, admin: Client, node: Node) -> None:
    job_id = admin.submit()
    with admin.stream("GET", f"/v1/jobs/{job_id}/events", headers=STREAM) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 3000"
        found = _events(lines)
        assert next(found)[1]["type"] == "job.submitted"
        claim = node.claim(node.register())
        assert claim is not None
        assert next(found)[1]["type"] == "attempt.claimed"
        node.say(claim, "start", launched="cold")
        node.say(claim, "finish", reason="completed")
        rest = list(found)  # ends by itself
    assert rest[-1][1]["type"] == "job.succeeded"
    until(lambda: not served.state.live.watched(), within=5, what="nobody listens any more")


def test_promise_16_a_broken_stream_goes_on_without_a_gap_or_a_repeat(admin: Client, node: Node) -> None:
    job_id = admin.submit()
    for _ in range(40):
        admin.post(f"/v1/jobs/{job_id}/pause")
        admin.post(f"/v1/jobs/{job_id}/resume")
    seen: list[int] = []
    last = {}
    for turn in range(9):
        with admin.stream("GET", f"/v1/jobs/{job_id}/events", headers={**STREAM, **last}) as answer:
            for count, (name, event) in enumerate(_events(answer.iter_lines()), start=1):
                assert name == str(event["seq"])
                seen.append(event["seq"])
                last = {"Last-Event-ID": name}
                if turn < 8 and count == 9:
                    break
                if event["seq"] == 81:
                    admin.post(f"/v1/jobs/{job_id}/cancel")
    assert seen == list(range(1, 83))
    over = admin.get(f"/v1/jobs/{job_id}/events", headers={**STREAM, **last})
    assert (over.status_code, over.content) == (204, b"")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_events_of_an_unknown_job_are_a_404(admin: Client, accept: str) -> None:
    answer = admin.get("/v1/jobs/job_none/events", headers={"Accept": accept})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_nonsense_last_event_id_is_refused(admin: Client) -> None:
    answer = admin.get(f"/v1/jobs/{admin.submit()}/events", headers={**STREAM, "Last-Event-ID": "soon"})
    assert answer.status_code == 422


def test_a_revoked_key_ends_its_stream(served: Served, admin: Client) -> None:
    job_id = admin.submit()
    made = admin.post("/v1/keys", json={"name": "viewer", "scopes": ["read"]}).json()
    headers = {**STREAM, "Authorization": f"Bearer {made['key']}"}
    with admin.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        found = _events(answer.iter_lines())
        next(found)
        until(lambda: job_id in served.state.live.watched(), within=5)
        admin.delete(f"/v1/keys/{made['id']}")
        admin.post(f"/v1/jobs/{job_id}/pause")
        assert list(found) == []


def test_two_hundred_streams_hear_of_the_same_event(served: Served, admin: Client) -> None:
    job_id = admin.submit()
    headers = {**STREAM, "Authorization": admin.headers["Authorization"], "Last-Event-ID": "1"}
    with httpx2.Client(base_url=served.url, timeout=30, limits=httpx2.Limits(max_connections=None)) as many:

        def follow(_: int) -> list[int]:
            with many.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
                return [event["seq"] for _, event in _events(answer.iter_lines())]

        with ThreadPoolExecutor(200) as pool:
            following = [pool.submit(follow, number) for number in range(200)]
            until(lambda: served.state.live.count(job_id) == 200, within=30, what="all follow")
            admin.post(f"/v1/jobs/{job_id}/cancel")
            assert all(each.result(timeout=20) == [2] for each in following)

"""Jobs over HTTP: submit, look, list, wait, cancel, pause, resume."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.wire.keys import Scope
from tests.api.serving import SPEC, Client, Node, Served, serving
from tests.bed.waiting import until


def test_a_submitted_job_is_answered_whole(admin: Client) -> None:
    answer = admin.post("/v1/jobs", json={**SPEC, "name": "first", "labels": {"team": "vision"}})
    assert answer.status_code == 201
    job = answer.json()
    assert job["id"].startswith("job_")
    assert (job["state"], job["is_terminal"], job["num_attempts"]) == ("queued", False, 0)
    assert job["spec"]["training"]["steps"] == 3
    assert job["spec"]["resources"] == {"nodes": 1, "devices_per_node": 1, "accelerator": "auto"}
    assert job["labels"] == {"team": "vision"}
    assert admin.job(job["id"]) == job


def test_a_bad_spec_is_answered_with_every_error_at_once(admin: Client) -> None:
    bad = {"recipe": "scripted", "training": {"steps": 0, "stps": 1}, "priority": "high", "resources": {"nodes": -1}}
    answer = admin.post("/v1/jobs", json=bad)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    pointers = {error["pointer"] for error in answer.json()["errors"]}
    assert pointers == {"/training/steps", "/training/stps", "/priority", "/resources/nodes"}
    assert admin.get("/v1/jobs").json()["data"] == []


def test_more_than_one_node_is_not_available_yet(admin: Client) -> None:
    answer = admin.post("/v1/jobs", json={**SPEC, "resources": {"nodes": 2}})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "not_available"
    assert answer.json()["error"]["param"] == "/resources/nodes"


def test_validate_answers_the_effective_spec_and_stores_nothing(admin: Client) -> None:
    answer = admin.post("/v1/jobs/validate", json=SPEC)
    assert answer.status_code == 200
    report = answer.json()
    assert report["valid"] is True
    assert report["spec"]["checkpoints"]["every_seconds"] == 600
    assert report["waiting_for"]
    assert admin.get("/v1/jobs").json()["data"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"[]", b"null", b'{"recipe": "scripted"', b"\xff\xfe", b"[" * 100_000])
def test_broken_json_is_a_clear_422(admin: Client, body: bytes) -> None:
    answer = admin.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_another_media_type_is_a_415(admin: Client) -> None:
    answer = admin.post("/v1/jobs", content=b"recipe=scripted", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 415
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_body_of_ten_megabytes_is_a_413(admin: Client, is_streamed: bool) -> None:
    whole = b'{"recipe": "' + b"x" * 10_000_000 + b'"}'
    pieces = (whole[start : start + 65_536] for start in range(0, len(whole), 65_536))
    answer = admin.post("/v1/jobs", content=pieces if is_streamed else whole, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"
    assert admin.get("/v1/jobs").json()["data"] == []


def test_pages_go_through_all_jobs_newest_first(admin: Client) -> None:
    made = [admin.submit(name=f"job {number}") for number in range(7)]
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = admin.get("/v1/jobs", params={"limit": 3, **after}).json()
        seen += [job["id"] for job in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert seen == made[::-1]


def test_a_list_can_be_narrowed(admin: Client) -> None:
    plain, labelled = admin.submit(), admin.submit(labels={"team": "vision"})
    admin.post(f"/v1/jobs/{plain}/cancel")

    def ids(**narrow: str) -> list[str]:
        return [job["id"] for job in admin.get("/v1/jobs", params=narrow).json()["data"]]

    assert ids(state="queued") == [labelled]
    assert ids(state="cancelled") == [plain]
    assert ids(label="team=vision") == [labelled]
    assert ids(label="team=speech") == []
    assert ids(recipe="scripted") == [labelled, plain]
    assert ids(recipe="image-classification") == []


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "state=asleep", "label=novalue", "limt=3"])
def test_a_wrong_query_is_a_422_that_names_the_parameter(admin: Client, query: str) -> None:
    answer = admin.get(f"/v1/jobs?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/query/{query.partition('=')[0]}"


def test_an_unchanged_job_is_a_304(admin: Client, node: Node) -> None:
    job_id = admin.submit()
    claim = node.claim(node.register())
    assert claim is not None
    first = admin.get(f"/v1/jobs/{job_id}")
    again = admin.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    node.say(claim, "start", launched="warm")
    changed = admin.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


def test_the_entity_tag_of_a_queued_job_changes_with_what_it_waits_for(admin: Client, node: Node) -> None:
    job_id = admin.submit(resources={"devices_per_node": 64})
    alone = admin.get(f"/v1/jobs/{job_id}")
    node.register()
    answer = admin.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": alone.headers["etag"]})
    assert answer.status_code == 200
    assert answer.json()["waiting_for"] != alone.json()["waiting_for"]


def test_a_long_poll_wakes_when_the_job_ends(served: Served, admin: Client, node: Node) -> None:
    job_id = admin.submit()
    claim = node.claim(node.register())
    assert claim is not None
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: (admin.get(f"/v1/jobs/{job_id}", params={"wait": 30}).json(), time.monotonic()))
        until(lambda: job_id in served.state.live.watched(), within=10, what="the long-poll waits")
        node.say(claim, "start", launched="warm")
        assert node.say(claim, "finish", reason="completed").status_code == 200
        answered = time.monotonic()
        job, heard = waiting.result(timeout=10)
    assert job["state"] == "succeeded"
    assert heard - answered < 0.5


def test_a_long_poll_with_an_etag_wakes_at_any_change(admin: Client, node: Node) -> None:
    job_id = admin.submit()
    worker = node.register()
    etag = admin.get(f"/v1/jobs/{job_id}").headers["etag"]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(admin.get, f"/v1/jobs/{job_id}", params={"wait": 30}, headers={"If-None-Match": etag})
        node.claim(worker)
        answer = waiting.result(timeout=10)
    assert answer.status_code == 200
    assert answer.json()["state"] == "running"


def test_a_long_poll_ends_with_its_time(admin: Client) -> None:
    job_id = admin.submit()
    assert admin.get(f"/v1/jobs/{job_id}", params={"wait": 0.05}).json()["state"] == "queued"


def test_a_terminal_job_is_not_waited_for(admin: Client) -> None:
    job_id = admin.submit()
    admin.post(f"/v1/jobs/{job_id}/cancel")
    started = time.monotonic()
    assert admin.get(f"/v1/jobs/{job_id}", params={"wait": 30}).json()["state"] == "cancelled"
    assert time.monotonic() - started < 5


def test_cancel_pause_and_resume_answer_the_job(admin: Client) -> None:
    job_id = admin.submit()
    assert admin.post(f"/v1/jobs/{job_id}/pause").json()["state"] == "paused"
    assert admin.post(f"/v1/jobs/{job_id}/resume").json()["state"] == "queued"
    refused = admin.post(f"/v1/jobs/{job_id}/resume")
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "illegal_move"
    assert admin.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    assert admin.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    assert admin.post(f"/v1/jobs/{job_id}/pause").status_code == 409


def test_a_reader_may_look_and_not_submit(served: Served) -> None:
    reader = served.client(Scope.READ)
    assert reader.get("/v1/jobs").status_code == 200
    refused = reader.post("/v1/jobs", json=SPEC)
    assert refused.status_code == 403
    assert refused.json()["error"]["type"] == "permission_error"
    assert reader.post("/v1/jobs/validate", json=SPEC).status_code == 200


def test_promise_15_a_repeated_post_makes_one_job(served_on_each: Served) -> None:
    client = served_on_each.client()
    headers = {"Idempotency-Key": "order-66"}
    first = client.post("/v1/jobs", json=SPEC, headers=headers)
    again = client.post("/v1/jobs", json=dict(reversed(SPEC.items())), headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = client.post("/v1/jobs", json={**SPEC, "name": "other"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert len(client.get("/v1/jobs").json()["data"]) == 1


def test_promise_15_a_key_names_a_request_of_one_project_only(served: Served) -> None:
    headers = {"Idempotency-Key": "same"}
    ours = served.client().post("/v1/jobs", json=SPEC, headers=headers)
    theirs = served.client(project="other").post("/v1/jobs", json=SPEC, headers=headers)
    assert ours.json()["id"] != theirs.json()["id"]


def test_promise_15_a_refused_spec_does_not_use_up_its_key(admin: Client) -> None:
    headers = {"Idempotency-Key": "retry-me"}
    assert admin.post("/v1/jobs", json={"recipe": "nonsense"}, headers=headers).status_code == 422
    assert admin.post("/v1/jobs", json=SPEC, headers=headers).status_code == 201


def test_promise_15_sixteen_at_once_make_one_job(served_on_each: Served) -> None:
    client = served_on_each.client()
    gate = threading.Barrier(16)

    def post(_: int) -> tuple[int, str]:
        gate.wait()
        answer = client.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "race"})
        return answer.status_code, answer.json().get("id", "")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(post, range(16)))
    assert {status for status, _ in answers} <= {201, 409}
    assert len({job for status, job in answers if status == 201}) == 1
    assert len(client.get("/v1/jobs").json()["data"]) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "umläut".encode("latin-1")])
def test_an_odd_idempotency_key_is_refused(admin: Client, key: str | bytes) -> None:
    answer = admin.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/header/idempotency-key"


def test_a_full_queue_says_so(sqlite_url: str, tmp_path: Path) -> None:
    with serving(sqlite_url, tmp_path, max_queued_jobs_per_project=2) as served:
        client = served.client()
        client.submit()
        client.submit()
        refused = client.post("/v1/jobs", json=SPEC)
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
        assert served.client(project="other").submit()

"""What nodes and supervisors call, from registration to the end of an attempt."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from core.wire.keys import Scope
from tests.api.serving import Client, Json, Node, Served
from tests.bed.waiting import until


def _claimed(admin: Client, node: Node) -> Json:
    admin.submit()
    claim = node.claim(node.register())
    assert claim is not None
    return claim


def test_an_attempt_from_claim_to_finish(served_on_each: Served) -> None:
    admin, node = served_on_each.client(), served_on_each.node()
    job_id = admin.submit(resources={"devices_per_node": 2})
    worker = node.register()
    assert node.claim(worker, devices=(0,)) is None
    claim = node.claim(worker, devices=(1, 0))
    assert claim is not None
    assert (claim["job_id"], claim["attempt"], claim["devices"]) == (job_id, 1, [1, 0])
    assert claim["lease_token"].startswith("lease_")
    assert node.say(claim, "start", launched="warm", pid=42).status_code == 204
    assert node.say(claim, "renew").json() == {"control": "continue", "lease_ttl_seconds": 60.0}
    finished = node.say(claim, "finish", reason="completed", metrics={"loss": 0.5})
    assert finished.json()["job_state"] == "succeeded"
    assert node.say(claim, "finish", reason="completed", metrics={"loss": 0.5}).json() == finished.json()
    job = admin.job(job_id)
    assert (job["state"], job["reason"], job["metrics"]) == ("succeeded", "completed", {"loss": 0.5})
    attempt = admin.get(f"/v1/jobs/{job_id}/attempts/1").json()
    assert (attempt["state"], attempt["launched"], attempt["worker"]) == ("succeeded", "warm", "node-1")
    assert admin.get(f"/v1/jobs/{job_id}/attempts").json()["data"] == [attempt]


def test_promise_2_a_lease_that_ended_writes_nothing_more(admin: Client, node: Node) -> None:
    claim = _claimed(admin, node)
    assert node.say(claim, "finish", reason="completed").status_code == 200
    for verb, body in (("start", {"launched": "cold"}), ("renew", {}), ("finish", {"reason": "user_error"})):
        refused = node.say(claim, verb, **body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "lease_lost"), verb


def test_a_lease_token_opens_its_own_attempt_alone(admin: Client, node: Node) -> None:
    first, second = _claimed(admin, node), _claimed(admin, node)
    mixed = {**first, "lease_token": second["lease_token"]}
    assert node.say(mixed, "renew").json()["error"]["code"] == "lease_lost"
    headers = {"Authorization": f"Bearer {first['lease_token']}"}
    assert node.get("/v1/jobs", headers=headers).status_code == 401
    assert node.post("/v1/worker/claim", json={"worker_id": "w", "devices": []}, headers=headers).status_code == 401


def test_a_worker_of_another_protocol_is_told_so_whatever_else_it_sends(node: Node) -> None:
    answer = node.post("/v1/worker/register", json={"protocol": 2, "name": "new", "something": "new"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "protocol_mismatch")
    assert "protocol 1" in answer.json()["detail"]


def test_an_unknown_worker_is_asked_to_register(node: Node) -> None:
    for verb, body in (("heartbeat", {}), ("claim", {"devices": [0]}), ("drain", {})):
        answer = node.post(f"/v1/worker/{verb}", json={"worker_id": "wrk_none", **body})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), verb


def test_a_heartbeat_says_whether_there_is_work(admin: Client, node: Node) -> None:
    worker = node.register()
    body = {"worker_id": worker, "free_devices": [0, 1]}
    assert node.post("/v1/worker/heartbeat", json=body).json() == {"is_draining": False, "has_work": False}
    admin.submit()
    assert node.post("/v1/worker/heartbeat", json=body).json()["has_work"] is True
    assert admin.get("/v1/workers").json()["data"][0]["state"] == "online"


def test_promise_12_a_waiting_renew_hears_of_a_cancel_at_once(served: Served, admin: Client, node: Node) -> None:
    claim = _claimed(admin, node)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: (node.say(claim, "renew", wait_seconds=30).json(), time.monotonic()))
        until(lambda: claim["job_id"] in served.state.live.watched(), within=10, what="the supervisor waits")
        asked = time.monotonic()
        admin.post(f"/v1/jobs/{claim['job_id']}/cancel")
        reply, heard = waiting.result(timeout=10)
    assert reply["control"] == "cancel"
    assert heard - asked < 1
    # A word that was seen before is not news: the next renew waits its time out.
    assert node.say(claim, "renew", wait_seconds=0.05, seen="cancel").json()["control"] == "cancel"


@pytest.mark.parametrize("by_node", [True, False])
def test_a_drain_reaches_a_waiting_supervisor_and_stops_claims(served: Served, admin: Client, node: Node, by_node: bool) -> None:
    claim = _claimed(admin, node)
    worker = node.register()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(node.say, claim, "renew", wait_seconds=30)
        until(lambda: claim["job_id"] in served.state.live.watched(), within=10, what="the supervisor waits")
        if by_node:
            assert node.post("/v1/worker/drain", json={"worker_id": worker}).status_code == 204
        else:
            assert admin.post(f"/v1/workers/{worker}/drain").status_code == 200
        assert waiting.result(timeout=10).json()["control"] == "drain"
    admin.submit()
    assert node.claim(worker) is None
    assert node.say(claim, "finish", reason="drained").json()["job_state"] == "queued"
    assert admin.job(claim["job_id"])["num_attempts"] == 1


def test_promise_2_two_renewals_at_once_both_hold(admin: Client, node: Node) -> None:
    claim = _claimed(admin, node)
    with ThreadPoolExecutor(8) as pool:
        answers: list[httpx2.Response] = list(pool.map(lambda _: node.say(claim, "renew"), range(32)))
    assert {answer.status_code for answer in answers} == {200}


def test_sixteen_nodes_never_claim_one_job_twice(served_on_each: Served) -> None:
    admin = served_on_each.client(Scope.ADMIN)
    submitted = {admin.submit() for _ in range(60)}
    node = served_on_each.node()
    workers = [node.register(f"node-{number}", devices=4) for number in range(16)]

    def drain_queue(worker: str) -> list[str]:
        claims = []
        while claim := node.claim(worker, devices=(0,)):
            claims.append(claim["job_id"])
        return claims

    with ThreadPoolExecutor(16) as pool:
        claimed = [job for jobs in pool.map(drain_queue, workers) for job in jobs]
    assert sorted(claimed) == sorted(submitted)

"""Who may do what: keys, scopes, projects."""

import hashlib
import time

import httpx2
import pytest

from core.db.tables import api_keys
from core.wire.keys import Scope
from tests.api.serving import ROUTES, Client, Node, Served
from tests.bed.waiting import until

NAMES = {"job_id": "job_01jd3v4n8m0000000000000000", "number": "1", "path": "model.pt2", "name": "scripted", "sha256": "0" * 64}
NAMES |= {"attempt_id": "att_01jd3v4n8m0000000000000000", "worker_id": "wrk_x", "key_id": "key_x", "rank": "0", "stream": "stdout"}
NAMES |= {"version": "1", "alias": "production", "promotion_id": "prm_x", "batch_id": "bat_x"}


def _concrete(path: str, **names: str) -> str:
    return path.replace(":path", "").format(**{**NAMES, **names})


def test_all_routes_are_known_here() -> None:
    assert len(ROUTES) > 30


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_promise_22_every_route_asks_for_a_key_before_anything_else(shared: Served, method: str, path: str) -> None:
    stranger = shared.stranger()
    for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}):
        answer = stranger.request(method, _concrete(path), headers=headers)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"


def test_promise_22_routes_of_a_lease_refuse_keys_and_made_up_tokens(shared: Served) -> None:
    admin = shared.client(Scope.ADMIN, Scope.WORKER)
    for method, path in ROUTES:
        if "/attempts/{attempt_id}/" in path:
            for headers in ({}, {"Authorization": "Bearer lease_" + "x" * 43}):
                assert admin.request(method, _concrete(path), headers=headers).status_code in (401, 409, 415, 422), path


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if "{job_id}" in route[1]])
def test_promise_23_another_projects_job_looks_absent_on_every_route(shared: Served, method: str, path: str) -> None:
    theirs = shared.client().submit()
    stranger = shared.client(Scope.ADMIN, project="other")
    foreign = stranger.request(method, _concrete(path, job_id=theirs))
    absent = stranger.request(method, _concrete(path, job_id="job_01jd3v4n8m0000000000000000"))
    assert foreign.status_code == absent.status_code == 404
    assert _body_of(method, foreign) == _body_of(method, absent)


def _body_of(method: str, answer: httpx2.Response) -> object:
    return None if method == "HEAD" else {**answer.json(), "instance": None}


def test_promise_23_lists_show_the_own_project_alone(served: Served) -> None:
    served.client().submit()
    other = served.client(Scope.ADMIN, project="other")
    assert other.get("/v1/jobs").json()["data"] == []
    assert [key["project"] for key in other.get("/v1/keys").json()["data"]] == ["other"]


def test_promise_23_another_projects_key_cannot_be_revoked(served: Served) -> None:
    admin = served.client()
    key_id = admin.get("/v1/keys").json()["data"][0]["id"]
    other = served.client(Scope.ADMIN, project="other")
    assert other.delete(f"/v1/keys/{key_id}").status_code == 404
    assert admin.get("/v1/jobs").status_code == 200


def test_promise_24_a_key_is_shown_once_and_kept_as_a_hash(served: Served, admin: Client) -> None:
    made = admin.post("/v1/keys", json={"name": "ci", "scopes": ["submit"]})
    assert made.status_code == 201
    secret = made.json()["key"]
    assert secret.startswith("ty_")
    assert secret not in admin.get("/v1/keys").text
    assert "key" not in admin.get("/v1/keys").json()["data"][0]
    with served.state.db.read() as tx:
        rows = tx.execute(api_keys.select()).all()
    assert secret not in str(rows)
    assert hashlib.sha256(secret.encode()).hexdigest() in str(rows)


def test_promise_24_a_repeated_creation_makes_no_second_key_and_keeps_no_secret(served: Served, admin: Client) -> None:
    request = {"json": {"name": "ci", "scopes": ["read"]}, "headers": {"Idempotency-Key": "once"}}
    first = admin.post("/v1/keys", **request)
    again = admin.post("/v1/keys", **request)
    assert (first.status_code, again.status_code) == (201, 409)
    assert first.json()["key"] not in again.text
    assert [key["name"] for key in admin.get("/v1/keys").json()["data"]].count("ci") == 1


def test_a_revoked_key_is_refused_at_once_here_and_within_five_seconds_elsewhere(served: Served, admin: Client) -> None:
    made = admin.post("/v1/keys", json={"name": "short-lived", "scopes": ["read"]}).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    assert admin.get("/v1/jobs", headers=headers).status_code == 200
    revoked = admin.delete(f"/v1/keys/{made['id']}")
    assert revoked.status_code == 200
    assert revoked.json()["revoked_at"]
    assert admin.get("/v1/jobs", headers=headers).status_code == 401
    assert admin.delete(f"/v1/keys/{made['id']}").status_code == 200


def test_an_expired_key_is_refused(admin: Client) -> None:
    made = admin.post("/v1/keys", json={"name": "brief", "scopes": ["read"], "expires_in_seconds": 1}).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    started = time.monotonic()
    until(lambda: admin.get("/v1/jobs", headers=headers).status_code == 401, within=8, what="the key has expired")
    assert time.monotonic() - started < 8


def test_wrong_unknown_and_revoked_keys_get_the_same_answer(admin: Client) -> None:
    made = admin.post("/v1/keys", json={"name": "gone", "scopes": ["read"]}).json()
    admin.delete(f"/v1/keys/{made['id']}")
    typo = made["key"][:-1] + ("0" if made["key"][-1] != "0" else "1")
    answers = [admin.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"}) for key in (made["key"], typo, "ty_nonsense", "x")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({str({**answer.json(), "instance": None}) for answer in answers}) == 1


def test_scopes_are_checked(served: Served, node: Node) -> None:
    reader, submitter = served.client(Scope.READ), served.client(Scope.SUBMIT)
    assert submitter.get("/v1/jobs").status_code == 200
    assert reader.post("/v1/jobs/job_x/cancel").status_code == 403
    assert submitter.get("/v1/keys").status_code == 403
    assert node.get("/v1/jobs").status_code == 403
    assert served.client(Scope.ADMIN).post("/v1/worker/claim", json={}).status_code == 403


def test_only_the_operators_project_makes_keys_for_others_and_for_workers(served: Served) -> None:
    operator, tenant = served.client(), served.client(Scope.ADMIN, project="tenant")
    assert tenant.post("/v1/keys", json={"name": "x", "scopes": ["worker"]}).status_code == 403
    assert tenant.post("/v1/keys", json={"name": "x", "scopes": ["read"], "project": "default"}).status_code == 403
    assert tenant.post("/v1/keys", json={"name": "x", "scopes": ["read"], "project": "tenant"}).status_code == 201
    assert operator.post("/v1/keys", json={"name": "x", "scopes": ["worker"], "project": "tenant"}).status_code == 403
    assert operator.post("/v1/keys", json={"name": "x", "scopes": ["worker"]}).status_code == 201
    made = operator.post("/v1/keys", json={"name": "x", "scopes": ["admin"], "project": "fresh"})
    assert made.json()["project"] == "fresh"


def test_only_the_operator_drains_workers(served: Served, node: Node) -> None:
    worker = node.register()
    assert served.client(Scope.ADMIN, project="tenant").post(f"/v1/workers/{worker}/drain").status_code == 403
    operator = served.client()
    assert operator.post(f"/v1/workers/{worker}/drain").json()["state"] in ("draining", "drained")
    assert operator.post(f"/v1/workers/{worker}/undrain").json()["state"] == "online"
    assert operator.post("/v1/workers/wrk_none/drain").status_code == 404

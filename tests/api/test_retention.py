"""Retention over HTTP: who may see and change it, and what is answered for what went."""

from datetime import timedelta

import pytest

from core.output.compact import compact_logs
from core.retention.apply import apply_retention
from core.wire.keys import Scope
from tests.api.serving import Client, Json, Served
from tests.api.shipping import STREAM, Shipper

FOR_EVER = {"artifacts_days": None, "checkpoints_days": None, "logs_days": None, "datasets_days": None}


def keep(client: Client, *, project: str | None = None, **days: int | None) -> Json:
    answer = client.patch("/v1/project/retention", params={"project": project} if project else {}, json=days)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()["retention"]
    return {name: found[name] for name in FOR_EVER}


def test_a_policy_is_shown_changed_in_part_and_taken_back(served_on_each: Served) -> None:
    admin = served_on_each.client()
    shown = admin.get("/v1/project").json()
    assert (shown["object"], shown["name"], shown["retention"]["changed_at"]) == ("project", "default", None)
    assert keep(admin, logs_days=7, datasets_days=90) == {**FOR_EVER, "logs_days": 7, "datasets_days": 90}
    assert keep(admin, logs_days=None, artifacts_days=30) == {**FOR_EVER, "artifacts_days": 30, "datasets_days": 90}
    assert keep(admin) == {**FOR_EVER, "artifacts_days": 30, "datasets_days": 90}
    changed = served_on_each.client(Scope.READ).get("/v1/project").json()["retention"]
    assert changed["key_id"] in [key["id"] for key in admin.get("/v1/keys").json()["data"]]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"logs_days": 0}, "/logs_days"),
        ({"logs_days": -3}, "/logs_days"),
        ({"logs_days": 1.5}, "/logs_days"),
        ({"logs_days": "7"}, "/logs_days"),
        ({"logs_days": True}, "/logs_days"),
        ({"logs_days": 36_501}, "/logs_days"),
        ({"metrics_days": 5}, "/metrics_days"),
        ([], ""),
    ],
)
def test_a_bad_policy_is_refused_with_its_place_and_changes_nothing(shared: Served, body: object, pointer: str) -> None:
    admin = shared.client()
    answer = admin.patch("/v1/project/retention", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert {name: value for name, value in admin.get("/v1/project").json()["retention"].items() if name in FOR_EVER} == FOR_EVER


def test_only_admins_change_it_and_only_operators_that_of_others(served: Served) -> None:
    assert served.client(Scope.SUBMIT).patch("/v1/project/retention", json={"logs_days": 1}).status_code == 403
    other = served.client(project="other")
    assert keep(other, logs_days=3)["logs_days"] == 3
    for path in ("/v1/project", "/v1/project/removals"):
        assert other.get(path, params={"project": "default"}).status_code == 403
        assert other.get(path, params={"project": "nowhere"}).status_code == 403, "whether it exists is not told"
        assert served.client(Scope.READ).get(path, params={"project": "other"}).status_code == 403
    operator = served.client()
    assert keep(operator, project="other", artifacts_days=9) == {**FOR_EVER, "logs_days": 3, "artifacts_days": 9}
    assert operator.get("/v1/project", params={"project": "nowhere"}).status_code == 404
    assert keep(operator) == FOR_EVER


def test_what_went_is_answered_410_with_the_time_and_the_rule(served_on_each: Served) -> None:
    state = served_on_each.state
    shipper = Shipper(served_on_each)
    shipper.hand_over(files={"model.bin": b"weights"})
    shipper.put_log(0, b"printed\n")
    shipper.hand_over("checkpoints", files={"a": b"state"}, step=1)
    shipper.finish()
    keep(shipper.admin, artifacts_days=30, checkpoints_days=30, logs_days=30)
    assert apply_retention(state.db, now=state.clock.now() + timedelta(days=29)) == 0
    compact_logs(state.db, state.store, now=state.clock.now())
    went_at = state.clock.now() + timedelta(days=31)
    assert apply_retention(state.db, now=went_at) == 3
    for path in ("artifacts/model.bin", "artifacts", "archive", "checkpoints", "logs"):
        answer = shipper.get(path)
        problem = answer.json()
        assert (answer.status_code, problem["error"]["code"]) == (410, "removed_by_retention"), path
        assert problem["removed_at"] == went_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
        assert problem["rule"] in ("artifacts_days=30", "checkpoints_days=30", "logs_days=30")
        assert problem["rule"] in problem["detail"]
    assert shipper.get("logs", headers=STREAM).status_code == 410
    assert shipper.admin.job(shipper.job_id)["state"] == "succeeded"
    told = [event["type"] for event in shipper.get("events").json()["data"]]
    assert {"artifacts.removed", "checkpoints.removed", "logs.removed"} <= set(told)
    listed = shipper.admin.get("/v1/project/removals", params={"limit": 2}).json()
    assert (len(listed["data"]), listed["has_more"]) == (2, True)
    assert {item["subject"] for item in listed["data"]} == {shipper.job_id}
    rest = shipper.admin.get("/v1/project/removals", params={"after": listed["last_id"]}).json()
    assert len(rest["data"]) == 1
    stranger = served_on_each.client(project="other")
    assert stranger.get(f"/v1/jobs/{shipper.job_id}/artifacts/model.bin").status_code == 404
    assert stranger.get("/v1/project/removals").json()["data"] == []

"""Every error is problem+json with a request id and without internals, also those that the framework makes."""

import re

import httpx2
import pytest

from core.errors import Unavailable
from tests.api.serving import SPEC, Client, Served


def _check(answer: httpx2.Response, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["error"]["code"], body["type"]) == (status, code, f"urn:trainyard:problem:{code}")
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["instance"] == answer.headers["x-request-id"]
    assert re.fullmatch(r"req_[0-9a-z]{26}", body["instance"])
    assert not re.search(r"Traceback|sqlite|SELECT|\.py|site-packages", answer.text)


def test_promise_18_errors_of_the_framework_are_problems_too(admin: Client) -> None:
    _check(admin.get("/nowhere"), 404, "not_found")
    _check(admin.get("/v1/nowhere"), 404, "not_found")
    _check(admin.delete("/v1/jobs"), 405, "method_not_allowed")
    _check(admin.post("/v1/jobs", content=b"x" * 2_000_000, headers={"Content-Type": "application/json"}), 413, "too_large")
    _check(admin.post("/v1/jobs", content=b"x", headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type")
    _check(admin.get("/v1/jobs?limit=0"), 422, "invalid_request")
    _check(admin.get("/v1/jobs/job_none"), 404, "not_found")
    _check(admin.get("/v1/jobs", headers={"Authorization": "Bearer nonsense"}), 401, "unauthenticated")
    _check(admin.get("/v1/jobs", headers={"Host": "evil.example"}), 421, "misdirected_request")


def test_promise_18_a_crash_is_a_plain_500_and_the_server_goes_on(served: Served, admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("secret detail in /srv/app.py")

    monkeypatch.setattr(type(served.state.doorbell), "ring", explode)
    answer = admin.post("/v1/jobs", json=SPEC)
    _check(answer, 500, "internal")
    assert "secret" not in answer.text
    monkeypatch.undo()
    admin.submit()


def test_an_unreachable_ledger_is_a_503_that_asks_to_come_back(served: Served, admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.get("/v1/jobs")

    def gone() -> None:
        raise Unavailable("the ledger cannot be reached right now")

    monkeypatch.setattr(type(served.state.db), "read", lambda _self: gone())
    answer = admin.get("/v1/jobs")
    _check(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("host", "is_welcome"),
    [
        ("localhost", True),
        ("localhost:8000", True),
        ("LOCALHOST.", True),
        ("127.0.0.1:1", True),
        ("[::1]:8000", True),
        ("10.1.2.3", True),
        ("anything.localhost", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_a_foreign_host_header_is_refused(served: Served, host: str, is_welcome: bool) -> None:
    status = served.stranger().get("/healthz", headers={"Host": host}).status_code
    assert status == (200 if is_welcome else 421)


def test_every_answer_carries_the_security_headers(admin: Client) -> None:
    for answer in (admin.get("/healthz"), admin.get("/v1/jobs"), admin.get("/nowhere"), admin.get("/v1/jobs", headers={"Host": "x"})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


def test_health_and_metrics(served: Served, admin: Client) -> None:
    stranger = served.stranger()
    assert stranger.get("/healthz").json()["status"] == "ok"
    ready = stranger.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "checks": {"ledger": "ok", "disk": "ok"}})
    admin.submit()
    text = stranger.get("/metrics").text
    assert 'trainyard_jobs{state="queued"} 1.0' in text
    assert 'trainyard_http_requests_total{method="POST",route="/v1/jobs",status="201"} 1.0' in text
    assert "trainyard_doorbell_failures_total 0.0" in text

"""Requests that schemathesis makes up from the OpenAPI document, against a real server: 500 and more, no 5xx."""

import re
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from core.wire.keys import Scope
from tests.api.serving import ROUTES, Served

CASES_EACH = 13
sent: Counter[str] = Counter()


@pytest.fixture(scope="module")
def ended_job(shared: Served) -> str:
    """A job that has ended: nothing waits for it."""
    client = shared.client()
    job_id = client.submit()
    client.post(f"/v1/jobs/{job_id}/cancel")
    return job_id


@pytest.fixture(scope="module")
def lease(shared: Served) -> dict[str, Any]:
    shared.client().submit(training={"ending": "never"})
    node = shared.node()
    claim = node.claim(node.register("generated", devices=1), devices=(0,))
    assert claim is not None
    return claim


@pytest.fixture(scope="module")
def document(shared: Served) -> BaseSchema:
    found = schemathesis.openapi.from_url(f"{shared.url}/openapi.json")
    found.config.update(base_url=shared.url)
    return found


@pytest.fixture(scope="module")
def key(shared: Served) -> str:
    return shared.key(Scope.ADMIN, Scope.WORKER)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_promise_18_no_generated_request_is_answered_with_a_5xx(
    document: BaseSchema, method: str, path: str, key: str, ended_job: str, lease: dict[str, Any]
) -> None:
    operation = document[path.replace(":path", "")][method]

    @settings(
        max_examples=CASES_EACH,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(GenerationMode.POSITIVE) | operation.as_strategy(GenerationMode.NEGATIVE))
    def check(case: Case) -> None:
        token = key
        # What a schema cannot say (a path's rules, fields that exclude each other, no 1.0 for an integer) may be refused.
        left_out = [positive_data_acceptance]
        if "/attempts/{attempt_id}/" in path:
            token = lease["lease_token"]
            case.path_parameters["attempt_id"] = lease["attempt_id"]
            left_out.append(negative_data_rejection)  # the wrong part may be the one that was put right here
        elif "{job_id}" in path and sent[path] % 2:
            case.path_parameters["job_id"] = ended_job
            left_out.append(negative_data_rejection)
        if (
            path.endswith(("/renew", "/predictions/claim"))
            and isinstance(case.body, dict)
            and _is_valid_wait(case.body.get("wait_seconds"))
        ):
            case.body["wait_seconds"] %= 0.01  # what waits does not fail, and 60 s of it would show nothing
        sent[path] += 1
        answer = case.call(headers={"Authorization": f"Bearer {token}"}, timeout=20)
        # Nobody has room for the petabytes that a made-up upload announces, and 507 is how that is said.
        assert answer.status_code < 500 or (answer.status_code == 507 and "/uploads/" in path), answer.text
        assert re.fullmatch(r"req_[0-9a-z]{26}", answer.headers["x-request-id"][0])
        case.validate_response(answer, excluded_checks=left_out)

    check()


def _is_valid_wait(seconds: Any) -> bool:
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds <= 60


def test_five_hundred_requests_were_made() -> None:
    assert sent.total() >= 500, sent

"""Two API processes on one PostgreSQL: what one commits wakes those who wait at the other."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api.serving import Served, serving
from tests.bed.databases import Databases
from tests.bed.waiting import until


@pytest.fixture
def replicas(databases: Databases, tmp_path: Path) -> Iterator[tuple[Served, Served]]:
    url = databases.fresh_url("postgres", tmp_path)
    with serving(url, tmp_path / "one") as first, serving(url, tmp_path / "two") as second:
        yield first, second
    databases.forget(url)


def test_a_long_poll_at_one_replica_hears_what_the_other_commits(replicas: tuple[Served, Served]) -> None:
    here, there = replicas
    client, other = here.client(), there.client()
    job_id = client.submit()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.get, f"/v1/jobs/{job_id}", params={"wait": 60})
        following = pool.submit(client.get, f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"})
        until(lambda: here.state.live.count(job_id) == 2, within=10, what="both wait")
        cancelled = time.monotonic()
        assert other.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
        assert waiting.result(timeout=10).json()["state"] == "cancelled"
        assert "job.cancelled" in following.result(timeout=10).text
        assert time.monotonic() - cancelled < 4


def test_a_key_revoked_at_one_replica_is_refused_at_the_other_within_five_seconds(replicas: tuple[Served, Served]) -> None:
    here, there = replicas
    admin = here.client()
    made = admin.post("/v1/keys", json={"name": "x", "scopes": ["read"]}).json()
    other, headers = there.client(), {"Authorization": f"Bearer {made['key']}"}
    assert other.get("/v1/jobs", headers=headers).status_code == 200
    admin.delete(f"/v1/keys/{made['id']}")
    until(lambda: other.get("/v1/jobs", headers=headers).status_code == 401, within=6, what="the other replica refuses it")

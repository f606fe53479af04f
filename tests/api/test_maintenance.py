"""The maintenance pass: reaps when it may, rings when work waits, and survives what goes wrong. No test waits for real time."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from api.app import assemble
from api.deps import ApiState
from api.maintenance import Maintenance
from core.access.keys import create_key
from core.clock import SystemClock
from core.db.engine import Database
from core.db.tables import artifacts, attempts, idempotency_keys, jobs, members
from core.errors import Unavailable
from core.idempotency import remember
from core.jobs.claim import claim
from core.jobs.queries import get_job
from core.jobs.submit import submit
from core.recipes import parse_spec
from core.retention.policies import change_retention
from core.retention.removals import list_removals
from core.settings import ApiSettings
from core.wire.keys import Scope
from core.wire.projects import ChangeRetentionRequest
from core.wire.worker import ClaimRequest, DeviceInfo, RegisterRequest
from core.workers.register import register

TTL = 60.0


class Time:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def state(sqlite_url: str, tmp_path: Path) -> Iterator[ApiState]:
    settings = ApiSettings(database_url=SecretStr(sqlite_url), data_dir=tmp_path / "bytes", lease_ttl_seconds=TTL)
    found = assemble(settings, SystemClock())
    yield found
    found.db.dispose()


@pytest.fixture
def project(state: ApiState) -> str:
    with state.db.begin() as tx:
        create_key(tx, project="default", name="x", scopes=(Scope.ADMIN,), now=state.clock.now())
        return str(tx.exec_driver_sql("select id from projects").scalar_one())


def _running_job_whose_lease_is_over(state: ApiState, project: str) -> str:
    with state.db.begin() as tx:
        now = state.clock.now()
        job_id = submit(tx, project_id=project, spec=parse_spec('{"recipe": "scripted"}'), now=now, max_queued=10)
        devices = (DeviceInfo(index=0, name="cpu"),)
        wanted = RegisterRequest(name="n", protocol=1, version="0", accelerator="cpu", devices=devices)
        worker = register(tx, wanted, ttl_seconds=TTL, now=now).worker_id
        assert claim(tx, request=ClaimRequest(worker_id=worker, devices=(0,)), ttl_seconds=TTL, now=now)
        tx.execute(update(members).values(lease_until=0.0))
    return job_id


def _state_of(state: ApiState, project: str, job_id: str) -> str:
    with state.db.read() as tx:
        return get_job(tx, project, job_id).state


def test_no_lease_is_judged_before_a_whole_ttl_after_the_start(state: ApiState, project: str, time: Time) -> None:
    job_id = _running_job_whose_lease_is_over(state, project)
    maintenance = Maintenance(state, monotonic=time)
    for _ in range(int(TTL) - 1):
        time.now += 1
        assert maintenance.run_pass() == []
    assert _state_of(state, project, job_id) == "running"
    time.now += 1
    assert maintenance.run_pass() == [job_id]
    assert _state_of(state, project, job_id) == "queued"


def test_no_lease_is_judged_before_a_whole_ttl_after_an_outage(
    state: ApiState, project: str, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    maintenance = Maintenance(state, monotonic=time)
    for _ in range(int(TTL)):
        time.now += 1
        maintenance.attempt_pass()
    job_id = _running_job_whose_lease_is_over(state, project)

    def gone(_self: Database) -> None:
        raise Unavailable

    monkeypatch.setattr(Database, "begin", gone)
    time.now += 1
    maintenance.attempt_pass()
    monkeypatch.undo()
    for _ in range(int(TTL) - 1):
        time.now += 1
        maintenance.attempt_pass()
    assert _state_of(state, project, job_id) == "running"
    time.now += 1
    assert maintenance.run_pass() == [job_id]


def test_a_process_that_stood_still_gives_everyone_a_new_ttl(state: ApiState, project: str, time: Time) -> None:
    maintenance = Maintenance(state, monotonic=time)
    for _ in range(int(TTL)):
        time.now += 1
        maintenance.run_pass()
    job_id = _running_job_whose_lease_is_over(state, project)
    time.now += TTL
    assert maintenance.run_pass() == []
    for _ in range(int(TTL) - 1):
        time.now += 1
        assert maintenance.run_pass() == []
    time.now += 1
    assert maintenance.run_pass() == [job_id]


def test_one_of_two_processes_does_the_duty(state: ApiState, project: str, time: Time) -> None:
    first, second = Maintenance(state, monotonic=time), Maintenance(state, monotonic=time)
    for _ in range(int(TTL)):
        time.now += 1
        first.run_pass()
        second.run_pass()
    job_id = _running_job_whose_lease_is_over(state, project)
    assert second.run_pass() == []
    assert first.run_pass() == [job_id]


def test_a_waiting_job_rings_the_bell_at_every_pass(state: ApiState, project: str, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    rings: list[int] = []
    monkeypatch.setattr(type(state.doorbell), "ring", lambda _self: rings.append(1))
    maintenance = Maintenance(state, monotonic=time)
    maintenance.run_pass()
    assert rings == []
    with state.db.begin() as tx:
        submit(tx, project_id=project, spec=parse_spec('{"recipe": "scripted"}'), now=state.clock.now(), max_queued=10)
    maintenance.run_pass()
    maintenance.run_pass()
    assert rings == [1, 1]


def test_a_crash_of_a_pass_is_counted_and_the_next_pass_runs(state: ApiState, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    maintenance = Maintenance(state, monotonic=time)

    def crash(_self: Database) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Database, "begin", crash)
    maintenance.attempt_pass()
    monkeypatch.undo()
    assert state.measures.registry.get_sample_value("trainyard_maintenance_failures_total") == 1
    maintenance.attempt_pass()
    assert state.measures.registry.get_sample_value("trainyard_maintenance_failures_total") == 1


def test_remembered_answers_go_after_three_days(state: ApiState, project: str, time: Time) -> None:
    request = {"project_id": project, "method": "POST", "path": "/v1/jobs", "key": "k", "body_sha256": "0"}
    with state.db.begin() as tx:
        remember(tx, **request, status=201, body="{}", now=state.clock.now())
    maintenance = Maintenance(state, monotonic=time)
    maintenance.run_pass()
    with state.db.begin() as tx:
        assert len(tx.execute(idempotency_keys.select()).all()) == 1
        tx.execute(update(idempotency_keys).values(created_at=state.clock.now().replace(year=2020)))
    time.now += 3600
    maintenance.run_pass()
    with state.db.read() as tx:
        assert tx.execute(idempotency_keys.select()).all() == []


def test_what_a_project_keeps_no_longer_goes(state: ApiState, project: str, time: Time) -> None:
    job_id = _running_job_whose_lease_is_over(state, project)
    now = state.clock.now()
    with state.db.begin() as tx:
        attempt_id = tx.scalars(select(attempts.c.id)).one()
        row = {"id": "art_1", "job_id": job_id, "attempt_id": attempt_id, "attempt": 1, "path": "a", "size": 1, "sha256": "0" * 64}
        tx.execute(artifacts.insert(), {**row, "created_at": now})
        tx.execute(update(jobs).values(state="failed", finished_at=now - timedelta(days=8)))
        change_retention(tx, project, ChangeRetentionRequest(artifacts_days=7), key_id=None, now=now)
    Maintenance(state, monotonic=time).run_pass()
    with state.db.read() as tx:
        assert tx.execute(select(artifacts)).all() == []
        assert [item.subject for item in list_removals(tx, project).data] == [job_id]

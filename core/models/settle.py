"""What follows from jobs that have ended: packages that their specs want registered, and promotions that waited for scores."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from core.db.base import AnyRow
from core.db.model_tables import model_promotions, model_requests, models
from core.db.tables import jobs
from core.errors import InvalidInput
from core.jobs.journal import record as note
from core.models.aliases import move_alias
from core.models.checks import common_name, comparison, is_worse, names_of_evaluation
from core.models.finding import find_model, version_row
from core.models.history import Happening, record
from core.models.promotions import check_of
from core.models.register import register_job
from core.states import FINAL, JobState
from core.wire.models import CheckResult

AT_MOST = 100  # of each kind in one call: the next one takes the rest

_CANDIDATE, _CURRENT = jobs.alias("candidate"), jobs.alias("current")
_ENDED = sorted(FINAL)
# A row that is locked is being settled by somebody else.
_REQUESTS = (
    select(model_requests.c.job_id, model_requests.c.name, jobs.c.project_id, jobs.c.state)
    .join_from(model_requests, jobs, jobs.c.id == model_requests.c.job_id)
    .where(jobs.c.state.in_(_ENDED))
    .order_by(model_requests.c.name, model_requests.c.job_id)
    .limit(AT_MOST)
    .with_for_update(of=model_requests, skip_locked=True)
)
_PROMOTIONS = (
    select(
        model_promotions,
        models.c.name,
        models.c.project_id,
        _CANDIDATE.c.state.label("candidate_state"),
        _CANDIDATE.c.metrics.label("candidate_metrics"),
        _CURRENT.c.state.label("current_state"),
        _CURRENT.c.metrics.label("current_metrics"),
    )
    .join_from(model_promotions, models, models.c.id == model_promotions.c.model_id)
    .join(_CANDIDATE, _CANDIDATE.c.id == model_promotions.c.candidate_job_id)
    .join(_CURRENT, _CURRENT.c.id == model_promotions.c.current_job_id)
    .where(model_promotions.c.outcome.is_(None), _CANDIDATE.c.state.in_(_ENDED), _CURRENT.c.state.in_(_ENDED))
    .order_by(models.c.name, model_promotions.c.id)
    .limit(AT_MOST)
    .with_for_update(of=model_promotions, skip_locked=True)
)


def settle_models(tx: Connection, now: datetime, *, job_id: str | None = None) -> None:
    """Does what is due, of one job or of all. Called in the transaction that ends a job, and again by maintenance for what that missed."""
    requests, promotions = _REQUESTS, _PROMOTIONS
    if job_id is not None:
        requests = requests.where(model_requests.c.job_id == job_id)
        promotions = promotions.where((_CANDIDATE.c.id == job_id) | (_CURRENT.c.id == job_id))
    for request in tx.execute(requests).all():
        _register(tx, request, now)
    for promotion in tx.execute(promotions).all():
        _decide(tx, promotion, now)


def _register(tx: Connection, request: AnyRow, now: datetime) -> None:
    tx.execute(delete(model_requests).where(model_requests.c.job_id == request.job_id))
    if request.state != JobState.SUCCEEDED:
        return
    try:
        version = register_job(tx, request.project_id, request.name, request.job_id, key_id=None, now=now).version
    except InvalidInput as error:  # the job has succeeded all the same
        note(tx, request.job_id, "model.not_registered", f"not registered as {request.name}: {error.message}", at=now)
        return
    data: dict[str, object] = {"model": version.name, "version": version.version}
    note(tx, request.job_id, "model.registered", f"registered as {version.name}@{version.version}", at=now, data=data)


def _decide(tx: Connection, row: AnyRow, now: datetime) -> None:
    model = find_model(tx, row.project_id, row.name, locked=True)
    candidate, current = version_row(tx, model.id, row.version), version_row(tx, model.id, row.alias)
    check, trouble = _scores(row)
    outcome, message = "failed", trouble
    if candidate is None or current is None or current.number != row.current_version:
        outcome, message = "superseded", f"{row.alias} does not point to version {row.current_version} any more, or a version is gone"
    elif not trouble and is_worse(check):
        outcome, message = "refused", f"{row.alias} stays at version {row.current_version}: {comparison(check, row.version)}"
    elif not trouble:
        moved = move_alias(tx, candidate, row.alias, current, key_id=row.key_id, now=now)
        outcome, message = "promoted", f"{moved}: {comparison(check, row.version)}"
    _close(tx, row, check, outcome=outcome, message=message, now=now)


def _scores(row: AnyRow) -> tuple[CheckResult, str]:
    """The check with both numbers in it, or what is missing."""
    check = check_of(row)
    for number, job_id, state in (
        (row.version, row.candidate_job_id, row.candidate_state),
        (row.current_version, row.current_job_id, row.current_state),
    ):
        if state != JobState.SUCCEEDED:
            return check, f"version {number} could not be scored: job {job_id} is {state}"
    scored, present = row.candidate_metrics or {}, row.current_metrics or {}
    name = common_name(names_of_evaluation(row.metric), scored, present)
    if name is None:
        return check, f"jobs {row.candidate_job_id} and {row.current_job_id} have not both answered {row.metric!r}"
    return check.model_copy(update={"candidate": scored[name], "current": present[name]}), ""


def _close(tx: Connection, row: AnyRow, check: CheckResult, *, outcome: str, message: str, now: datetime) -> None:
    values: dict[str, Any] = {"outcome": outcome, "message": message, "settled_at": now}
    values |= {"candidate": check.candidate, "current": check.current}
    tx.execute(update(model_promotions).where(model_promotions.c.id == row.id).values(values))
    if outcome != "promoted":  # a move has told of itself
        told = Happening(type=f"promotion.{outcome}", message=message, key_id=row.key_id, alias=row.alias)
        record(tx, row.model_id, replace(told, version=row.version, previous_version=row.current_version), now)

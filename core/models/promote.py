"""Points an alias to a version, where it is asked for only if that version is no worse than the present one."""

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert

from core.db.base import AnyRow
from core.db.model_tables import model_promotions
from core.errors import InvalidInput, Problem
from core.ids import new_id
from core.jobs.submit import submit
from core.models.aliases import check_alias, move_alias
from core.models.checks import common_name, comparison, direction, is_worse, names_of
from core.models.finding import find_model, version_row
from core.models.history import Happening, record
from core.models.promotions import get_promotion
from core.recipes import parse_spec
from core.wire.models import CheckResult, PromoteRequest, Promotion, UnlessWorse

EVALUATION = "model-evaluation"  # the recipe of the jobs that score two versions
CHECK = "/unless_worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A version that shall take an alias from another one; the model is locked."""

    project_id: str
    alias: str
    candidate: AnyRow
    current: AnyRow | None
    key_id: str
    now: datetime
    max_queued: int

    def promotion(self, outcome: str, message: str, check: CheckResult | None = None) -> Promotion:
        previous = None if self.current is None else self.current.number
        facts = {"name": self.candidate.name, "alias": self.alias, "version": self.candidate.number, "previous_version": previous}
        return Promotion.model_validate({**facts, "outcome": outcome, "message": message, "check": check, "created_at": self.now})

    def happening(self, type: str, message: str) -> Happening:
        previous = None if self.current is None else self.current.number
        told = {"alias": self.alias, "version": self.candidate.number, "previous_version": previous}
        return Happening(type=type, message=message, key_id=self.key_id, **told)


def promote(
    tx: Connection, project_id: str, name: str, alias: str, request: PromoteRequest, *, key_id: str, now: datetime, max_queued: int
) -> Promotion:
    """Moves the alias, or says why not: a check that fails changes nothing but the history, and says both numbers.

    A check on a dataset submits two jobs and answers ``pending``; ``settle`` decides when both have ended. InvalidInput for
    a version or metric that is not there; what ``submit`` raises.
    """
    check_alias(alias)
    model = find_model(tx, project_id, name, locked=True)
    candidate = version_row(tx, model.id, request.version)
    if candidate is None:
        raise InvalidInput(problems=[Problem("/version", f"the model {name!r} has no version {request.version!r}", "not_found")])
    current = version_row(tx, model.id, alias)
    wish = Wish(project_id=project_id, alias=alias, candidate=candidate, current=current, key_id=key_id, now=now, max_queued=max_queued)
    if current is not None and current.id == candidate.id:
        return wish.promotion("promoted", f"{alias} points to version {candidate.number} already")
    if request.unless_worse is None or current is None:
        return _move(tx, wish)
    if request.unless_worse.dataset is None:
        return _compare_recorded(tx, wish, current, request.unless_worse)
    return _start_jobs(tx, wish, current, request.unless_worse)


def _move(tx: Connection, wish: Wish, check: CheckResult | None = None) -> Promotion:
    message = move_alias(tx, wish.candidate, wish.alias, wish.current, key_id=wish.key_id, now=wish.now)
    if check is not None:
        message = f"{message}: {comparison(check, wish.candidate.number)}"
    return wish.promotion("promoted", message, check)


def _compare_recorded(tx: Connection, wish: Wish, current: AnyRow, check: UnlessWorse) -> Promotion:
    name = common_name(names_of(check.metric), wish.candidate.metrics, current.metrics)
    if name is None:
        shared = sorted(wish.candidate.metrics.keys() & current.metrics.keys())
        have = f"both have {', '.join(shared)}" if shared else "they have none in common"
        message = f"versions {wish.candidate.number} and {current.number} have not both recorded {check.metric!r}; {have}"
        raise InvalidInput(problems=[Problem(f"{CHECK}/metric", message, "unknown_metric")])
    result = CheckResult(
        metric=name,
        higher_is_better=_direction(check),
        tolerance=check.tolerance,
        candidate=wish.candidate.metrics[name],
        current=current.metrics[name],
        current_version=current.number,
    )
    if not is_worse(result):
        return _move(tx, wish, result)
    message = f"{wish.alias} stays at version {current.number}: {comparison(result, wish.candidate.number)}"
    record(tx, wish.candidate.model_id, wish.happening("promotion.refused", message), wish.now)
    return wish.promotion("refused", message, result)


def _direction(check: UnlessWorse) -> bool:
    known = direction(check)
    if known is None:
        message = f"it is not known whether {check.metric!r} is better high or low; say so"
        raise InvalidInput(problems=[Problem(f"{CHECK}/higher_is_better", message, "unknown_direction")])
    return known


def _start_jobs(tx: Connection, wish: Wish, current: AnyRow, check: UnlessWorse) -> Promotion:
    assert check.dataset is not None
    higher = _direction(check)
    dataset = check.dataset.model_dump(mode="json")
    jobs = [_submit(tx, wish, version, dataset) for version in (wish.candidate, current)]
    promotion_id = new_id("prm")
    message = f"{wish.alias} waits for {check.metric} of versions {wish.candidate.number} and {current.number}: jobs {' and '.join(jobs)}"
    row = {
        "id": promotion_id,
        "model_id": wish.candidate.model_id,
        "alias": wish.alias,
        "version": wish.candidate.number,
        "current_version": current.number,
        "metric": check.metric,
        "higher_is_better": higher,
        "tolerance": check.tolerance,
        "dataset": dataset,
        "candidate_job_id": jobs[0],
        "current_job_id": jobs[1],
        "message": message,
        "key_id": wish.key_id,
        "created_at": wish.now,
    }
    tx.execute(insert(model_promotions).values(row))
    record(tx, wish.candidate.model_id, wish.happening("promotion.pending", message), wish.now)
    return get_promotion(tx, wish.project_id, wish.candidate.name, promotion_id)


def _submit(tx: Connection, wish: Wish, version: AnyRow, dataset: dict[str, object]) -> str:
    """A job that scores the version; its problems are told with their place in the promotion's request."""
    wanted = {
        "recipe": EVALUATION,
        "name": f"{version.name}@{version.number}",
        "base_model": {"name": version.name, "version": version.number},
        "dataset": dataset,
    }
    try:
        spec = parse_spec(json.dumps(wanted))
        return submit(tx, project_id=wish.project_id, spec=spec, now=wish.now, max_queued=wish.max_queued)
    except InvalidInput as error:
        problems = [Problem(f"{CHECK}{problem.pointer}", problem.message, problem.code) for problem in error.problems]
        raise InvalidInput(problems=problems) from error

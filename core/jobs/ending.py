"""The end of an attempt, reported or found out: what it does to the job, and the two lines that tell of it."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select

from core.db.base import AnyRow
from core.db.tables import attempts, jobs
from core.jobs.journal import Entry, record
from core.jobs.transitions import move_job
from core.jobs.verdict import Verdict, judge
from core.retry import Failures, RetryPolicy
from core.states import EFFECTS, FINAL, Budget, JobState, Reason
from core.wire.base import rfc3339
from core.wire.jobs import Failure
from core.wire.worker import FinishReply

# Attempt before job, as everywhere: whoever comes here has locked the attempt.
_JOB = (
    select(
        jobs.c.id,
        jobs.c.state,
        jobs.c.spec,
        jobs.c.user_failures,
        jobs.c.infrastructure_failures,
        jobs.c.node_failures,
        jobs.c.seconds_used,
        jobs.c.metrics,
        jobs.c.failure,
        attempts.c.id.label("attempt_id"),
        attempts.c.number,
        attempts.c.started_at.label("attempt_started_at"),
        attempts.c.latest_metrics,
        attempts.c.phases,
    )
    .join_from(attempts, jobs, attempts.c.job_id == jobs.c.id)
    .where(attempts.c.id == bindparam("attempt"))
    .with_for_update(of=jobs, key_share=True)
)

_STEPS = select(attempts.c.progress, attempts.c.resumed_from_step).where(attempts.c.job_id == bindparam("job"))

_WORDS = {
    JobState.SUCCEEDED: ("job.succeeded", "the job succeeded"),
    JobState.FAILED: ("job.failed", "the job failed: {}"),
    JobState.CANCELLED: ("job.cancelled", "the job was cancelled"),
    JobState.PAUSED: ("job.paused", "the job is paused"),
    JobState.QUEUED: ("job.requeued", "the job is queued again after: {}"),
}


@dataclass(frozen=True, slots=True)
class EndingJob:
    """The job of an ending attempt, locked, and the attempt beside it."""

    row: AnyRow

    @property
    def state(self) -> JobState:
        return JobState(self.row.state)

    @property
    def failures(self) -> Failures:
        return Failures(user=self.row.user_failures, infrastructure=self.row.infrastructure_failures, node=self.row.node_failures)

    @property
    def policy(self) -> RetryPolicy:
        retry = json.loads(self.row.spec)["retry"]
        return RetryPolicy(max_user_retries=retry["max_retries"], retry_on=frozenset(map(Reason, retry["on"])))


def lock_ending_job(tx: Connection, attempt_id: str) -> EndingJob:
    return EndingJob(tx.execute(_JOB, {"attempt": attempt_id}).one())


def decide(job: EndingJob, reason: Reason, now: datetime) -> Verdict:
    return judge(job.state, reason, job.failures, job.policy, now)


def attempt_changes(job: EndingJob, verdict: Verdict, failure: Failure | None, now: datetime) -> dict[str, Any]:
    """What an ending writes on the attempt besides its state."""
    phases = [{**span, "ended_at": span["ended_at"] or rfc3339(now)} for span in job.row.phases or ()]
    return {
        "reason": verdict.attempt_reason,
        "failure": failure.model_dump(mode="json") if failure else None,
        "phases": phases,
        "finished_at": now,
    }


def end_job(
    tx: Connection, job: EndingJob, verdict: Verdict, *, failure: Failure | None, metrics: dict[str, float], reported: Reason, now: datetime
) -> FinishReply:
    """Applies the verdict to the job; ``reported`` is the reason that the supervisor gave."""
    reply = FinishReply(job_id=job.row.id, job_state=verdict.job_state, retry_at=verdict.retry_at)
    _tell_attempt(tx, job, verdict, failure=failure, reported=reported, reply=reply, now=now)
    changes: dict[str, Any] = {
        "reason": verdict.job_reason,
        "failure": _job_failure(job, verdict, failure),
        "seconds_used": job.row.seconds_used + _seconds_run(job, now),
        "metrics": {**(job.row.metrics or {}), **(job.row.latest_metrics or {}), **metrics},
        **_spent(job.failures.plus(verdict.budget)),
    }
    if verdict.job_state in FINAL:
        changes["finished_at"] = now
        changes["metrics"] |= _goodput(tx, job.row.id)
    word, message = _WORDS[verdict.job_state]
    data = {"reason": verdict.job_reason.value, "attempt_reason": verdict.attempt_reason.value}
    if verdict.retry_at is not None:
        data["retry_at"] = rfc3339(verdict.retry_at)
    entry = Entry(type=word, message=message.format(verdict.job_reason), attempt=job.row.number, data=data)
    to, available_in = verdict.job_state, verdict.retry_in(now)
    move_job(tx, job.row.id, frozenset({job.state}), to, now=now, entry=entry, changes=changes, available_in=available_in)
    return reply


def _tell_attempt(
    tx: Connection, job: EndingJob, verdict: Verdict, *, failure: Failure | None, reported: Reason, reply: FinishReply, now: datetime
) -> None:
    effect = EFFECTS[verdict.attempt_reason]
    message = f"attempt {job.row.number} ended: {failure.message if failure and failure.message else effect.meaning}"
    data: dict[str, Any] = {"reason": verdict.attempt_reason, "state": effect.attempt, "reported": reported}
    data |= reply.model_dump(mode="json", exclude={"job_id"})  # the same report is answered the same again, see finish.py
    record(tx, job.row.id, f"attempt.{effect.attempt}", message[:2000], at=now, attempt=job.row.number, data=data)


def _job_failure(job: EndingJob, verdict: Verdict, failure: Failure | None) -> dict[str, Any] | None:
    """The newest failure stays in sight while the job may still fail; a job that ended well shows none."""
    if verdict.job_state in (JobState.SUCCEEDED, JobState.CANCELLED):
        return None
    if failure is not None:
        return failure.model_dump(mode="json")
    kept: dict[str, Any] | None = job.row.failure
    return kept


def _spent(failures: Failures) -> dict[str, int]:
    return {f"{budget}_failures": failures.of(budget) for budget in Budget}


def _goodput(tx: Connection, job_id: str) -> dict[str, float]:
    """Which share of all steps that were run is in the result; the rest was lost to failures between two checkpoints."""
    runs = tx.execute(_STEPS, {"job": job_id}).all()
    reached = [(row.progress or {}).get("step", 0) for row in runs]
    num_run = sum(max(step - (row.resumed_from_step or 0), 0) for step, row in zip(reached, runs, strict=True))
    # A rank that dies between its checkpoint and its next progress resumes ahead of the step that it was last seen at.
    return {"goodput": min(max(reached) / num_run, 1.0)} if num_run else {}


def _seconds_run(job: EndingJob, now: datetime) -> float:
    started_at: datetime | None = job.row.attempt_started_at
    return max((now - started_at).total_seconds(), 0.0) if started_at else 0.0

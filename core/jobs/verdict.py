"""What becomes of a job when its attempt ends. Pure: state, reason and counts go in, a decision comes out."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from core.retry import Failures, RetryPolicy
from core.states import EFFECTS, Budget, JobState, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    job_state: JobState
    attempt_reason: Reason
    job_reason: Reason
    budget: Budget | None  # the one that pays for this ending
    retry_at: datetime | None  # when a queued job may be claimed again

    @property
    def is_failure(self) -> bool:
        return EFFECTS[self.attempt_reason].budget is not None

    def retry_in(self, now: datetime) -> timedelta | None:
        return None if self.retry_at is None else self.retry_at - now


_ON_REQUEST = frozenset({Reason.CANCELLED, Reason.PAUSED})


def judge(job_state: JobState, reason: Reason, failures: Failures, policy: RetryPolicy, now: datetime) -> Verdict:
    """``job_state`` is what the job is at that moment (it holds a lease); ``failures`` do not yet include this ending.

    A finished training wins over any request. Else a cancelled job ends, whatever happened; a paused one rests, unless
    its failure is one that would not be retried; a running one ends or waits for its next attempt.
    """
    if job_state is JobState.RUNNING and reason in _ON_REQUEST:
        reason = Reason.PROTOCOL  # nobody asked: believing it would end a job that its owner wants
    if reason is Reason.COMPLETED:
        return _verdict(JobState.SUCCEEDED, reason)
    if job_state is JobState.CANCELLING:
        return _verdict(JobState.CANCELLED, reason, job_reason=Reason.CANCELLED)
    budget = EFFECTS[reason].budget
    retry_at = policy.next_try(reason, failures.plus(budget), now)
    if retry_at is None:
        return _verdict(JobState.FAILED, reason, budget=budget)
    if job_state is JobState.PAUSING:
        return _verdict(JobState.PAUSED, reason, job_reason=Reason.PAUSED, budget=budget)
    return _verdict(JobState.QUEUED, reason, budget=budget, retry_at=retry_at)


def _verdict(
    job_state: JobState,
    reason: Reason,
    *,
    job_reason: Reason | None = None,
    budget: Budget | None = None,
    retry_at: datetime | None = None,
) -> Verdict:
    return Verdict(job_state=job_state, attempt_reason=reason, job_reason=job_reason or reason, budget=budget, retry_at=retry_at)

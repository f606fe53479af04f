"""What becomes of a job, as a table."""

from datetime import UTC, datetime, timedelta

import pytest

from core.jobs.verdict import judge
from core.retry import Failures, RetryPolicy
from core.states import EFFECTS, MOVES, Budget, JobState, Reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RetryPolicy(max_user_retries=1, retry_on=frozenset({Reason.NUMERIC}))
NONE = Failures()
R, J = Reason, JobState

TABLE = [
    # the job is, the attempt ended, failures before -> the job becomes, because of, paid by
    (J.RUNNING, R.COMPLETED, NONE, J.SUCCEEDED, R.COMPLETED, None),
    (J.PAUSING, R.COMPLETED, NONE, J.SUCCEEDED, R.COMPLETED, None),
    (J.CANCELLING, R.COMPLETED, NONE, J.SUCCEEDED, R.COMPLETED, None),
    (J.RUNNING, R.DRAINED, NONE, J.QUEUED, R.DRAINED, None),
    (J.RUNNING, R.PREEMPTED, Failures(user=9, infrastructure=9, node=9), J.QUEUED, R.PREEMPTED, None),
    (J.RUNNING, R.USER_ERROR, NONE, J.FAILED, R.USER_ERROR, Budget.USER),
    (J.RUNNING, R.NUMERIC, NONE, J.QUEUED, R.NUMERIC, Budget.USER),
    (J.RUNNING, R.NUMERIC, Failures(user=1), J.FAILED, R.NUMERIC, Budget.USER),
    (J.RUNNING, R.RANK_DIED, NONE, J.QUEUED, R.RANK_DIED, Budget.INFRASTRUCTURE),
    (J.RUNNING, R.HANG, Failures(infrastructure=2), J.QUEUED, R.HANG, Budget.INFRASTRUCTURE),
    (J.RUNNING, R.HANG, Failures(infrastructure=3), J.FAILED, R.HANG, Budget.INFRASTRUCTURE),
    (J.RUNNING, R.NODE_LOST, Failures(infrastructure=3, node=4), J.QUEUED, R.NODE_LOST, Budget.NODE),
    (J.RUNNING, R.NODE_LOST, Failures(node=5), J.FAILED, R.NODE_LOST, Budget.NODE),
    (J.CANCELLING, R.CANCELLED, NONE, J.CANCELLED, R.CANCELLED, None),
    (J.CANCELLING, R.USER_ERROR, NONE, J.CANCELLED, R.CANCELLED, None),
    (J.CANCELLING, R.NODE_LOST, NONE, J.CANCELLED, R.CANCELLED, None),
    (J.CANCELLING, R.DRAINED, NONE, J.CANCELLED, R.CANCELLED, None),
    (J.PAUSING, R.PAUSED, NONE, J.PAUSED, R.PAUSED, None),
    (J.PAUSING, R.DRAINED, NONE, J.PAUSED, R.PAUSED, None),
    (J.PAUSING, R.CANCELLED, NONE, J.PAUSED, R.PAUSED, None),
    (J.PAUSING, R.NODE_LOST, NONE, J.PAUSED, R.PAUSED, Budget.NODE),
    (J.PAUSING, R.RANK_DIED, NONE, J.PAUSED, R.PAUSED, Budget.INFRASTRUCTURE),
    (J.PAUSING, R.USER_ERROR, NONE, J.FAILED, R.USER_ERROR, Budget.USER),
    # A worker that says so although nobody asked must not end somebody's job.
    (J.RUNNING, R.CANCELLED, NONE, J.QUEUED, R.PROTOCOL, Budget.INFRASTRUCTURE),
    (J.RUNNING, R.PAUSED, Failures(infrastructure=3), J.FAILED, R.PROTOCOL, Budget.INFRASTRUCTURE),
]


@pytest.mark.parametrize(("state", "reason", "failures", "becomes", "because", "budget"), TABLE)
def test_the_verdict(
    state: JobState, reason: Reason, failures: Failures, becomes: JobState, because: Reason, budget: Budget | None
) -> None:
    verdict = judge(state, reason, failures, POLICY, NOW)
    assert (verdict.job_state, verdict.job_reason, verdict.budget) == (becomes, because, budget)
    assert (verdict.retry_at is not None) == (becomes is JobState.QUEUED)


@pytest.mark.parametrize("state", [J.RUNNING, J.PAUSING, J.CANCELLING])
@pytest.mark.parametrize("reason", list(Reason))
def test_every_verdict_is_a_move_that_the_table_of_states_allows(state: JobState, reason: Reason) -> None:
    for failures in (NONE, Failures(user=99, infrastructure=99, node=99)):
        verdict = judge(state, reason, failures, POLICY, NOW)
        assert verdict.job_state in MOVES[state]
        assert verdict.is_failure == (EFFECTS[verdict.attempt_reason].budget is not None)


def test_promise_13_a_drain_or_a_preemption_is_tried_again_at_once_and_for_ever() -> None:
    for reason in (Reason.DRAINED, Reason.PREEMPTED):
        verdict = judge(JobState.RUNNING, reason, Failures(user=99, infrastructure=99, node=99), POLICY, NOW)
        assert (verdict.retry_at, verdict.budget) == (NOW, None)


def test_each_further_retry_waits_twice_as_long() -> None:
    def waits(before: int) -> timedelta | None:
        policy = RetryPolicy(max_user_retries=0, retry_on=frozenset(), max_infrastructure_retries=99)
        return judge(JobState.RUNNING, Reason.HANG, Failures(infrastructure=before), policy, NOW).retry_in(NOW)

    seconds = [wait.total_seconds() for wait in map(waits, range(12)) if wait is not None]
    assert seconds[:5] == [0, 2, 6, 14, 30]
    assert seconds[-1] == 300

"""The state machine as data: complete, closed, and with one way out of every state."""

from datetime import UTC, datetime, timedelta

import pytest

from core.retry import Failures, RetryPolicy
from core.states import ATTEMPT_MOVES, EFFECTS, FINAL, HOLDING_A_LEASE, LIVE_ATTEMPT, MOVES, AttemptState, Budget, JobState, Reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_every_reason_has_an_effect() -> None:
    assert EFFECTS.keys() == set(Reason)


def test_terminal_states_are_those_without_a_move() -> None:
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED} == FINAL


def test_every_state_can_be_reached_and_every_live_one_can_end() -> None:
    for state in set(JobState) - {JobState.QUEUED}:
        assert any(state in targets for targets in MOVES.values()), state
    for state in MOVES:
        assert _reachable(state) & FINAL, state


def test_cancel_has_a_way_from_every_state_that_is_not_terminal() -> None:
    for state in MOVES:
        assert {JobState.CANCELLED, JobState.CANCELLING} & (MOVES[state] | {state}), state


@pytest.mark.parametrize("reason", Reason)
def test_what_a_reason_does_is_a_legal_move(reason: Reason) -> None:
    effect = EFFECTS[reason]
    assert effect.attempt in ATTEMPT_MOVES[AttemptState.RUNNING]
    asked = {JobState.PAUSED: JobState.PAUSING, JobState.CANCELLED: JobState.CANCELLING}
    assert effect.job in MOVES[asked.get(effect.job, JobState.RUNNING)]


def test_only_the_reaper_loses_an_attempt() -> None:
    assert [reason for reason, effect in EFFECTS.items() if effect.attempt is AttemptState.LOST] == [Reason.NODE_LOST]


def test_a_lease_is_held_exactly_while_an_attempt_may_run() -> None:
    assert {JobState.RUNNING, JobState.PAUSING, JobState.CANCELLING} == HOLDING_A_LEASE
    assert {AttemptState.LEASED, AttemptState.RUNNING} == LIVE_ATTEMPT


POLICY = RetryPolicy(max_user_retries=1, retry_on=frozenset({Reason.NUMERIC}))


@pytest.mark.parametrize(
    ("reason", "failures", "delay"),
    [
        (Reason.DRAINED, Failures(), 0),
        (Reason.NODE_LOST, Failures(node=1), 0),
        (Reason.NODE_LOST, Failures(node=2), 2),
        (Reason.NODE_LOST, Failures(node=5), 30),
        (Reason.NODE_LOST, Failures(node=6), None),
        (Reason.RANK_DIED, Failures(infrastructure=1), 0),
        (Reason.RANK_DIED, Failures(infrastructure=3), 6),
        (Reason.RANK_DIED, Failures(infrastructure=4), None),
        (Reason.HANG, Failures(infrastructure=1, node=9), 0),
        (Reason.USER_ERROR, Failures(user=1), None),
        (Reason.NUMERIC, Failures(user=1), 0),
        (Reason.NUMERIC, Failures(user=2), None),
    ],
)
def test_promise_13_each_budget_pays_for_its_own_failures_and_ends(reason: Reason, failures: Failures, delay: float | None) -> None:
    due = POLICY.next_try(reason, failures, NOW)
    assert due == (None if delay is None else NOW + timedelta(seconds=delay))


def test_waiting_between_tries_has_a_longest() -> None:
    patient = RetryPolicy(max_user_retries=0, retry_on=frozenset(), max_infrastructure_retries=1000)
    assert patient.next_try(Reason.RANK_DIED, Failures(infrastructure=500), NOW) == NOW + timedelta(minutes=5)


@pytest.mark.parametrize("budget", Budget)
def test_every_budget_is_counted(budget: Budget) -> None:
    assert Failures(**{budget.value: 3}).of(budget) == 3


def _reachable(state: JobState) -> set[JobState]:
    seen: set[JobState] = set()
    ahead = {state}
    while ahead:
        seen |= ahead
        ahead = {target for one in ahead for target in MOVES.get(one, ())} - seen
    return seen

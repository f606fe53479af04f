"""When a failed attempt is tried again. Pure: the caller counts, hands in the time, and applies the decision."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.states import EFFECTS, Budget, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """How many attempts of a job each budget has paid for; the last two count since the last checkpoint progress."""

    user: int = 0
    infrastructure: int = 0
    node: int = 0

    def of(self, budget: Budget) -> int:
        return {Budget.USER: self.user, Budget.INFRASTRUCTURE: self.infrastructure, Budget.NODE: self.node}[budget]

    def plus(self, budget: Budget | None) -> "Failures":
        """The counts after one more failure at the cost of ``budget``."""
        if budget is None:
            return self
        return replace(self, **{budget.value: self.of(budget) + 1})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    max_user_retries: int
    retry_on: frozenset[Reason]
    max_infrastructure_retries: int = 3
    max_node_retries: int = 5
    first_delay: timedelta = timedelta(seconds=2)
    longest_delay: timedelta = timedelta(minutes=5)

    def next_try(self, reason: Reason, failures: Failures, now: datetime) -> datetime | None:
        """When the job may be claimed again; None leaves it where the reason's effect puts it.

        ``failures`` includes the failure being judged. The first infrastructure failure is retried at once,
        so that a lost node costs its lease and no more; later ones wait twice as long each time.
        """
        effect = EFFECTS[reason]
        if effect.budget is None:
            return now
        count = failures.of(effect.budget)
        if count > self._allowed(effect.budget, reason):
            return None
        return now + min(self.first_delay * ((1 << min(count - 1, 20)) - 1), self.longest_delay)

    def _allowed(self, budget: Budget, reason: Reason) -> int:
        if budget is Budget.USER:
            return self.max_user_retries if reason in self.retry_on else 0
        return self.max_infrastructure_retries if budget is Budget.INFRASTRUCTURE else self.max_node_retries

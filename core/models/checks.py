"""The arithmetic of a promotion's check: which number of two versions is compared, and which of the two is worse."""

from collections.abc import Mapping, Sequence

from core.recipes.sections.directions import SPLITS, higher_is_better, split_of
from core.wire.models import CheckResult, UnlessWorse


def names_of(metric: str) -> tuple[str, ...]:
    """Under which names a run may have recorded it, the best first: without a split, what the test says counts most.

    A bare name comes last, for while training it is that of the newest batch.
    """
    split, name = split_of(metric)
    if split is not None:
        return (f"{split}_{name}", metric)
    return (*(f"{each}_{name}" for each in SPLITS), name)


def names_of_evaluation(metric: str) -> tuple[str, ...]:
    """The same for a job that scores one dataset and knows no splits."""
    return (split_of(metric)[1], *names_of(metric))


def common_name(names: Sequence[str], *recorded: Mapping[str, float]) -> str | None:
    """The first of these names that all have recorded, None when there is none."""
    return next((name for name in names if all(metrics.get(name) is not None for metrics in recorded)), None)


def direction(check: UnlessWorse) -> bool | None:
    """Whether higher is better; None when neither the recipes nor the caller know."""
    known = higher_is_better(check.metric)
    return check.higher_is_better if known is None else known


def is_worse(result: CheckResult) -> bool:
    """Whether the candidate is worse than the current version by more than the tolerance. Both numbers are there."""
    assert result.candidate is not None
    assert result.current is not None
    loss = result.current - result.candidate if result.higher_is_better else result.candidate - result.current
    return loss > result.tolerance


def comparison(result: CheckResult, candidate: int) -> str:
    """Both numbers, in words."""
    return f"{result.metric} is {result.candidate:.6g} in version {candidate} and {result.current:.6g} in version {result.current_version}"

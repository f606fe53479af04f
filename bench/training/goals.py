"""Rows that say how good a model becomes: a spec, the number of its package that counts, and what is aimed at."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import spread
from bench.training.figures import Figure
from bench.training.launch import Attempt, Place, read_spec


@dataclass(frozen=True, slots=True)
class Goal:
    """``metric`` is a path into metrics.json, ``percent`` shows a share as per cent. ``within`` limits training seconds,
    ``parameters`` the size of the model. The mean over the seeds counts.
    """

    what: str
    spec: str
    metric: str
    aim: float
    higher_is_better: bool = True
    percent: bool = True
    seeds: tuple[int, ...] = (1,)
    within: float | None = None
    parameters: int | None = None


GOALS: dict[str, Goal] = {
    "digits": Goal("digits, small ResNet, random 20 % test", "digits", "test.accuracy", 99.2, seeds=(1, 2, 3), within=30),
    "fashion-mnist": Goal("Fashion-MNIST", "fashion-mnist", "test.accuracy", 93.5, within=900, parameters=1_000_000),
    "cifar10": Goal("CIFAR-10, 5,000 training images, with augmentation", "cifar10", "test.accuracy", 77, within=900),
    "tinyshakespeare": Goal(
        "tinyshakespeare, characters, 2,000 steps of 12 x 64", "tinyshakespeare", "validation.loss", 1.90, False, percent=False
    ),
    "sst2": Goal("SST-2, text CNN from scratch", "sst2-cnn", "test.accuracy", 82, seeds=(1, 2, 3)),
    "free-spoken-digits": Goal(
        "free spoken digits, word error rate", "free-spoken-digits", "test.wer", 3, higher_is_better=False, within=600
    ),
}


def rows_of_goal(place: Place, goal: Goal) -> Iterator[Figure]:
    yield judge(goal, run_seeds(place, goal))


def run_seeds(place: Place, goal: Goal, **changes: Any) -> list[Attempt]:
    return [place.run(read_spec(goal.spec, seed=seed, **changes)) for seed in goal.seeds]


def judge(goal: Goal, attempts: Sequence[Attempt]) -> Figure:
    values = [value_of(attempt, goal.metric) * (100 if goal.percent else 1) for attempt in attempts]
    mean = statistics.mean(values)
    seconds = statistics.mean(attempt.training_seconds for attempt in attempts)
    size = int(attempts[0].config()["num_parameters"])
    reached = [mean >= goal.aim if goal.higher_is_better else mean <= goal.aim]
    sign = "at least" if goal.higher_is_better else "at most"
    aims = [f"{sign} {number(goal, goal.aim)}"]
    if goal.within is not None:
        aims.append(f"{goal.within:g} s")
        reached.append(seconds <= goal.within)
    if goal.parameters is not None:
        aims.append(f"under {goal.parameters:,} parameters")
        reached.append(size < goal.parameters)
    seen = number(goal, mean) if len(values) == 1 else f"mean {number(goal, mean)}; {spread(values)}"
    return Figure(f"{goal.what}", f"{seen}, {size:,} parameters", ", ".join(aims), all(reached), seconds, mean_cpu(attempts))


def value_of(attempt: Attempt, path: str) -> float:
    found: Any = attempt.metrics()
    for key in path.split("."):
        found = found[key]
    return float(found)


def number(goal: Goal, value: float) -> str:
    return f"{value:.2f} %" if goal.percent else f"{value:.3f}"


def mean_cpu(attempts: Sequence[Attempt]) -> float:
    return statistics.mean(attempt.cpu_seconds for attempt in attempts)

"""Rows that compare two trainings, or a figure of ours with that of a reference."""

import csv
import json
import statistics
from collections.abc import Iterator

from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

from bench.report import spread
from bench.training.figures import Figure
from bench.training.goals import GOALS, judge, mean_cpu, run_seeds, value_of
from bench.training.launch import Attempt, Place, read_spec

NO_AUGMENTATION = {
    **{"max_shift": 0, "flip": False, "colour_jitter": 0.0, "randaugment": 0, "cutout": 0, "mixup": 0.0, "cutmix": 0.0},
    "progressive": None,
}
NUM_FOLDS = 5


def cifar10(place: Place) -> Iterator[Figure]:
    """The same spec with all augmentation off, in the same number of epochs."""
    goal = GOALS["cifar10"]
    augmented = run_seeds(place, goal)
    yield judge(goal, augmented)
    plain = run_seeds(place, goal, training={**read_spec(goal.spec).get("training", {}), **NO_AUGMENTATION})
    gain = 100 * (_mean(augmented, goal.metric) - _mean(plain, goal.metric))
    seen = f"{gain:.2f} points over {100 * _mean(plain, goal.metric):.2f} % without"
    yield Figure("what augmentation gains there", seen, "at least 5 points", gain >= 5, _seconds(plain), mean_cpu(plain))


def tinyshakespeare(place: Place) -> Iterator[Figure]:
    """AdamW, and the same with Muon."""
    goal = GOALS["tinyshakespeare"]
    adamw = run_seeds(place, goal)
    yield judge(goal, adamw)
    best = [place.run(read_spec("tinyshakespeare-best", seed=seed)) for seed in goal.seeds]
    ours, theirs = _mean(best, goal.metric), _mean(adamw, goal.metric)
    optimizer = read_spec("tinyshakespeare-best")["training"]["optimizer"]
    yield Figure(f"the same with {optimizer}", f"{ours:.3f}", f"under {theirs:.3f}", ours < theirs, _seconds(best), mean_cpu(best))


def sst2_pretrained(place: Place) -> Iterator[Figure]:
    """One spec for the classifier, with the encoder fresh and with it pretrained by masked words on the training sentences."""
    metric, seeds = "test.accuracy", (1, 2, 3)
    pretraining = place.run(read_spec("sst2-mlm", seed=1))
    before, after = (
        [place.run(read_spec("sst2-encoder", seed=seed), base_model=base) for seed in seeds] for base in (None, pretraining.package)
    )
    ours, theirs = 100 * _mean(after, metric), 100 * _mean(before, metric)
    seen = f"mean of {len(seeds)} seeds {ours:.2f} %, {ours - theirs:+.2f} points over {theirs:.2f} % from scratch"
    yield Figure("SST-2, encoder pretrained by masked words", seen, "more", ours > theirs, _seconds(after), mean_cpu(after))
    loss = pretraining.series("validation_loss")
    seen = f"validation loss {loss[0]:.3f} to {min(loss):.3f}"
    yield Figure("that pretraining", seen, "", None, pretraining.training_seconds, pretraining.cpu_seconds)


def wnut17(place: Place) -> Iterator[Figure]:
    """The entity F1 of the package against seqeval on the predictions that lie in it."""
    attempt = place.run(read_spec("wnut17", seed=1))
    with (attempt.package / "predictions.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    labels, predictions = ([json.loads(record[name]) for record in records] for name in ("tags", "prediction"))
    theirs, ours = float(f1_score(labels, predictions, mode="strict", scheme=IOB2)), value_of(attempt, "test.f1")
    seen = f"{ours:.6f} (seqeval {theirs:.6f}, {len(records):,} sentences)"
    same = abs(ours - theirs) < 1e-9
    yield Figure("WNUT-17, entity F1", seen, "what seqeval says", same, attempt.training_seconds, attempt.cpu_seconds)


def penguins(place: Place) -> Iterator[Figure]:
    attempts = [place.run(read_spec("penguins", seed=1, data={"fold": {"index": fold, "count": NUM_FOLDS}})) for fold in range(NUM_FOLDS)]
    values = [100 * value_of(attempt, "test.accuracy") for attempt in attempts]
    mean = statistics.mean(values)
    seen = f"mean {mean:.2f} %; {spread(values)}"
    yield Figure("penguins, 5-fold cross-validation", seen, "at least 98.50 %", mean >= 98.5, _seconds(attempts), mean_cpu(attempts))


def movietweetings(place: Place) -> Iterator[Figure]:
    """Against what the package states beside it, learned from the same training rows and scored on the same test rows: the means
    of users and of items; and effects of both, shrunk as the validation split likes best, which is a harder bar."""
    attempt = place.run(read_spec("movietweetings", seed=1))
    ours = value_of(attempt, "test.rmse")
    means, shrunk = (value_of(attempt, f"baselines.{name}.rmse") for name in ("user_and_item_means", "shrunk_user_and_item_effects"))
    gain, harder = 100 * (1 - ours / means), 100 * (1 - ours / shrunk)
    what, seconds = "MovieTweetings, RMSE against user and item means", (attempt.training_seconds, attempt.cpu_seconds)
    yield Figure(what, f"{ours:.4f}, {gain:.2f} % under {means:.4f}", "3 % under", gain >= 3, *seconds)
    yield Figure("the same against shrunk user and item effects", f"{harder:.2f} % under {shrunk:.4f}", "", None)


def _mean(attempts: list[Attempt], metric: str) -> float:
    return statistics.mean(value_of(attempt, metric) for attempt in attempts)


def _seconds(attempts: list[Attempt]) -> float:
    return statistics.mean(attempt.training_seconds for attempt in attempts)

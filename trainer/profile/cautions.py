"""What trains and deserves a look, judged from what was counted."""

from collections import Counter

from core.profile import Caution, Drift, WarningCode
from trainer.profile.sketch import Sketch

MISSING_SHARE = 0.2
IMBALANCE = 10  # rows of the largest class for one of the smallest
TINY_CLASS = 10  # rows
DUPLICATE_SHARE = 0.01
DRIFT = 0.1  # beyond what chance does to shares
MOST_NAMED = 5
OUTSIDE = "O"  # the tag of words that belong to nothing: most do


def cautions_of(sketch: Sketch) -> list[Caution]:
    return [*sketch.cautions, *_of_columns(sketch), *_of_classes(sketch), *_of_splits(sketch), *_of_rows(sketch)]


def _of_columns(sketch: Sketch) -> list[Caution]:
    found = []
    num = sketch.ledger.num_rows
    for column in sketch.columns:
        if num and column.num_missing > MISSING_SHARE * num:
            found.append(_caution("missing_values", f"column {column.name!r} lacks {column.num_missing:,} of {num:,} values"))
        if column.num_unique == 1 and num - column.num_missing > 1:
            found.append(_caution("constant_column", f"column {column.name!r} has one value only"))
    return found


def _of_classes(sketch: Sketch) -> list[Caution]:
    counts = Counter(sketch.ledger.labels.get("train") or sketch.ledger.labels.get("all"))
    del counts[OUTSIDE]
    if sketch.labels is None or len(counts) < 2:
        return []
    found = []
    ordered = counts.most_common()
    (most, num_most), (least, num_least) = ordered[0], ordered[-1]
    if num_most >= IMBALANCE * num_least:
        found.append(_caution("class_imbalance", f"class {most!r} occurs {num_most:,} times, class {least!r} {num_least:,}"))
    tiny = sorted(label for label, num in counts.items() if num < TINY_CLASS)
    if tiny:
        found.append(_caution("tiny_class", f"fewer than {TINY_CLASS} times occurs {_named(tiny)}"))
    return found


def _of_splits(sketch: Sketch) -> list[Caution]:
    found = []
    labels = sketch.ledger.labels
    for split in ("validation", "test"):
        strangers = sorted(labels[split].keys() - labels["train"].keys()) if split in labels and "train" in labels else []
        if strangers:
            found.append(_caution("unknown_label", f"the {split} split has classes that training lacks: {_named(strangers)}"))
    for drift in sketch.ledger.drifts():
        if drift.distance > DRIFT + _by_chance(labels, drift):
            share = f"{drift.distance:.0%}"
            found.append(
                _caution("label_drift", f"the classes of {drift.split} are spread differently from training: {share} of them differ")
            )
    return found


def _by_chance(labels: dict[str, Counter[str]], drift: Drift) -> float:
    """The distance that two draws from one distribution have at most on average: half the root of classes over rows, for each."""
    num_classes = len(labels[drift.split].keys() | labels[drift.compared_with].keys())
    totals = (labels[drift.split].total(), labels[drift.compared_with].total())
    return float(sum(0.5 * (num_classes / total) ** 0.5 for total in totals))


def _of_rows(sketch: Sketch) -> list[Caution]:
    ledger, found = sketch.ledger, []
    num_duplicates, num_conflicts = ledger.num_duplicates(), ledger.num_conflicts()
    if num_duplicates > DUPLICATE_SHARE * ledger.num_rows and not sketch.may_repeat:
        found.append(_caution("duplicates", f"{num_duplicates:,} of {sketch.many(ledger.num_rows)} equal an earlier one of their split"))
    if num_conflicts:
        found.append(_caution("conflicting_labels", f"the same under different classes: {sketch.many(num_conflicts)}"))
    for leak in ledger.leaks():
        loosely = f", {leak.num_loose:,} of them but for case, spaces and punctuation" if leak.num_loose else ""
        both = sketch.many(leak.num_exact + leak.num_loose)
        found.append(_caution("leak", f"in both {leak.split} and {leak.other}: {both} of {leak.split}{loosely}"))
    return found


def _named(labels: list[str]) -> str:
    more = f" and {len(labels) - MOST_NAMED:,} more" if len(labels) > MOST_NAMED else ""
    return ", ".join(map(repr, labels[:MOST_NAMED])) + more


def _caution(code: WarningCode, message: str) -> Caution:
    return Caution(code=code, message=message)

"""Rows by split and label: which are equal, which stand in two splits, and how the labels are spread. 16 bytes are kept of each."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from core.profile import Drift, LabelsProfile, Leak
from trainer.data.leaks import normalised
from trainer.data.text.columns import in_order

SPLITS = ("train", "validation", "test")
PAIRS = (("train", "validation"), ("train", "test"), ("validation", "test"))
KEY_BYTES = 16
MOST_LABELS = 1000


def digest(content: bytes | str) -> bytes:
    encoded = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=KEY_BYTES).digest()


def loosely(text: str) -> bytes:
    """The digest of what is left when case, spaces and punctuation do not count."""
    return digest(normalised(text))


@dataclass(slots=True)
class _Seen:
    """How often one content stands in each split, and under which labels."""

    loose: bytes | None
    labels: set[str]
    splits: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Ledger:
    """``has_splits``: rows without one then belong to training, as in every recipe."""

    has_splits: bool
    num_rows: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    _seen: dict[bytes, _Seen] = field(default_factory=dict)
    _loose: dict[bytes, set[str]] = field(default_factory=dict)

    def add(self, key: bytes | None, *, part: str | None, label: str | None = None, loose: bytes | None = None) -> None:
        """``key``: equal for equal rows; None for a row that has no content of its own."""
        split = self.count(part)
        if label is not None:
            self.labels.setdefault(split, Counter())[label] += 1
        if key is None:
            return
        seen = self._seen.setdefault(key, _Seen(loose, set()))
        seen.splits[split] += 1
        if label is not None:
            seen.labels.add(label)
        if loose is not None:
            self._loose.setdefault(loose, set()).add(split)

    def count(self, part: str | None) -> str:
        """Counts a row; the split that it belongs to."""
        split = (part or "train") if self.has_splits else "all"
        self.num_rows += 1
        self.splits[split] += 1
        return split

    def num_per_split(self) -> dict[str, int]:
        return {split: self.splits[split] for split in (*SPLITS, "all") if self.splits[split]}

    def num_duplicates(self) -> int:
        return sum(num - 1 for seen in self._seen.values() for num in seen.splits.values())

    def num_conflicts(self) -> int:
        """Contents that stand under more than one label."""
        return sum(len(seen.labels) > 1 for seen in self._seen.values())

    def leaks(self) -> list[Leak]:
        """Those that there are."""
        found = []
        for split, other in PAIRS:
            exact = sum(seen.splits[split] for seen in self._seen.values() if seen.splits[other])
            loose = sum(seen.splits[split] for seen in self._seen.values() if not seen.splits[other] and self._is_loosely_in(seen, other))
            if exact or loose:
                found.append(Leak(split=split, other=other, num_exact=exact, num_loose=loose))
        return found

    def _is_loosely_in(self, seen: _Seen, split: str) -> bool:
        return seen.loose is not None and split in self._loose[seen.loose]

    def labels_profile(self, column: str | None) -> LabelsProfile | None:
        if not self.labels:
            return None
        names = in_order({label for counts in self.labels.values() for label in counts})
        counts = {
            split: {name: self.labels[split][name] for name in names[:MOST_LABELS] if self.labels[split][name]}
            for split in (*SPLITS, "all")
            if split in self.labels
        }
        return LabelsProfile(column=column, num_labels=len(names), counts=counts)

    def drifts(self) -> list[Drift]:
        """Of the label shares, validation and test against training."""
        train = self.labels.get("train")
        others = [split for split in ("validation", "test") if split in self.labels] if train else []
        return [Drift(split=split, compared_with="train", distance=distance(train or Counter(), self.labels[split])) for split in others]


def distance(first: Counter[str], second: Counter[str]) -> float:
    """Total variation between the shares that two counts have; from 0 (the same) to 1 (nothing in common)."""
    totals = first.total(), second.total()
    return sum(abs(first[name] / totals[0] - second[name] / totals[1]) for name in first.keys() | second.keys()) / 2

"""Splits: by the seed alone, disjoint, complete, and every class in proportion."""

import numpy as np
import pytest

from trainer.data.splits import Splits, split_rows

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), (100, 40, 20, 3)))


def split(seed: int = 0, labels: np.ndarray = LABELS) -> Splits:
    return split_rows(labels, seed=seed, validation_fraction=0.15, test_fraction=0.2)


def test_splits_are_disjoint_and_together_everything() -> None:
    splits = split()

    together = np.concatenate([splits.train, splits.validation, splits.test])
    assert sorted(together.tolist()) == list(range(len(LABELS)))


def test_the_same_seed_gives_the_same_splits_and_another_seed_others() -> None:
    assert np.array_equal(split().test, split().test)
    assert not np.array_equal(split().test, split(seed=1).test)


def test_each_class_gives_its_share_and_the_smallest_one_row_to_each() -> None:
    splits = split()

    assert np.bincount(LABELS[splits.test]).tolist() == [20, 8, 4, 1]
    assert np.bincount(LABELS[splits.validation]).tolist() == [15, 6, 3, 1]
    assert np.bincount(LABELS[splits.train]).tolist() == [65, 26, 13, 1]


@pytest.mark.parametrize("fractions", [(0.49, 0.49), (0.01, 0.01), (0.49, 0.01)])
def test_three_rows_of_a_class_are_enough_whatever_the_fractions(fractions: tuple[float, float]) -> None:
    splits = split_rows(np.repeat(np.arange(3), 3), seed=5, validation_fraction=fractions[0], test_fraction=fractions[1])

    assert [len(splits.train), len(splits.validation), len(splits.test)] == [3, 3, 3]

"""Which rows a step sees: every row, no rank starved, and nothing remembered."""

from collections import Counter

import numpy as np
import pytest

from trainer.data.batches import num_steps, order_of_epoch, rows_of_step

NUM_ROWS, BATCH = 50, 16


def rows(epoch: int, step: int, rank: int = 0, world_size: int = 1, *, num_rows: int = NUM_ROWS, seed: int = 0) -> list[int]:
    order = order_of_epoch(num_rows, seed=seed, epoch=epoch)
    found = rows_of_step(order, step=step, batch_size=BATCH, part=rank, num_parts=world_size)
    return found.tolist()


def test_an_epoch_sees_every_row_and_fills_its_last_batch_from_its_front() -> None:
    seen = [row for step in range(num_steps(NUM_ROWS, BATCH)) for row in rows(0, step)]

    assert set(seen) == set(range(NUM_ROWS))
    assert len(seen) == 64
    assert seen[NUM_ROWS:] == seen[: 64 - NUM_ROWS]


@pytest.mark.parametrize("world_size", [2, 4, 16])
def test_the_ranks_share_the_batch_that_one_rank_would_see(world_size: int) -> None:
    for step in range(num_steps(NUM_ROWS, BATCH)):
        shares = [rows(1, step, rank, world_size) for rank in range(world_size)]
        assert {len(share) for share in shares} == {BATCH // world_size}
        assert [row for share in shares for row in share] == rows(1, step)


def test_a_batch_larger_than_the_data_repeats_rows() -> None:
    counts = Counter(rows(0, 0, num_rows=5))

    assert sorted(counts) == [0, 1, 2, 3, 4]
    assert sorted(counts.values()) == [3, 3, 3, 3, 4]


def test_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    np.random.seed(7)
    first = rows(0, 0)
    np.random.seed(8)

    assert rows(0, 0) == first
    assert rows(1, 0) != first
    assert rows(0, 0, seed=1) != first

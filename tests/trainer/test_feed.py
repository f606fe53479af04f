"""The feed: what a thread makes ahead is what would be made now, wherever a run begins."""

import threading
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from trainer.data.batches import order_of_epoch
from trainer.data.feed import Feed
from trainer.errors import InvalidData
from trainer.plan import Plan
from trainer.state import Run, State
from trainer.tasks.task import Batch, Draw, Task

PLAN = Plan(batch_size=8, steps_per_epoch=3, num_steps=9, num_epochs=3, peak_rate=0.1)


class Noisy:
    """Rows, and noise that only their place decides; remembers who made what."""

    def __init__(self, *, broken_at: tuple[int, int] | None = None) -> None:
        self.knobs, self.seed = SimpleNamespace(accumulate=2), 7
        self.made: list[tuple[int, int, int]] = []
        self.threads: set[str] = set()
        self.broken_at = broken_at

    def order(self, epoch: int) -> np.ndarray:
        return order_of_epoch(21, seed=self.seed, epoch=epoch)

    def train_batch(self, rows: np.ndarray, draw: Draw) -> Batch:
        self.made.append((draw.epoch, draw.step, draw.part))
        self.threads.add(threading.current_thread().name)
        if (draw.epoch, draw.step) == self.broken_at:
            raise InvalidData(["row 3 is broken"])
        return {"rows": torch.from_numpy(rows), "noise": torch.rand(len(rows), generator=draw.generator(1))}


def new_feed(task: Noisy, *, depth: int | None, rank: int = 0) -> Feed:
    ranks = SimpleNamespace(device=torch.device("cpu"), data_rank=rank, data_world=2)
    return Feed(cast(Run, SimpleNamespace(ranks=ranks)), cast(Task, task), PLAN, depth=depth)


def walk(feed: Feed, *, begin: int = 0, end: int = 9) -> list[list[dict[str, Any]]]:
    steps = [feed.next(State(step=step, epoch=step // 3, step_in_epoch=step % 3)) for step in range(begin, end)]
    feed.close()
    return [[{name: tensor.tolist() for name, tensor in batch.items()} for batch in step] for step in steps]


def test_on_cpus_the_step_itself_makes_its_batches() -> None:
    task = Noisy()
    walk(new_feed(task, depth=None))

    assert task.threads == {threading.current_thread().name}
    assert len(task.made) == 9 * 2


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_what_is_made_ahead_is_the_same(depth: int) -> None:
    task = Noisy()

    assert walk(new_feed(task, depth=depth)) == walk(new_feed(Noisy(), depth=0))
    assert len(task.threads) == 1
    assert task.threads != {threading.current_thread().name}


def test_a_run_that_begins_in_the_middle_sees_the_rest() -> None:
    whole = walk(new_feed(Noisy(), depth=2))

    assert walk(new_feed(Noisy(), depth=2), begin=4) == whole[4:]


def test_a_position_that_nobody_expected_is_made_too() -> None:
    feed = new_feed(Noisy(), depth=2)
    jumping = [feed.next(State(epoch=epoch, step_in_epoch=step)) for epoch, step in [(0, 0), (2, 1), (0, 1)]]
    whole = walk(new_feed(Noisy(), depth=0))

    assert [[batch["rows"].tolist() for batch in step] for step in jumping] == [
        [batch["rows"] for batch in whole[position]] for position in (0, 7, 1)
    ]
    feed.close()


def test_ranks_and_micro_batches_share_a_step_without_overlap() -> None:
    steps = [walk(new_feed(Noisy(), depth=2, rank=rank)) for rank in (0, 1)]
    order = order_of_epoch(21, seed=7, epoch=0)

    first = [row for rank in steps for batch in rank[0] for row in batch["rows"]]
    assert first == order[:8].tolist()
    assert all(len(batch["rows"]) == 2 for step in steps[0] for batch in step)


def test_two_steps_ahead_and_no_more() -> None:
    task = Noisy()
    feed = new_feed(task, depth=2)
    feed.next(State())
    third = feed._ahead[0, 2]
    third.result(10)

    assert sorted({(epoch, step) for epoch, step, _ in task.made}) == [(0, 0), (0, 1), (0, 2)]
    feed.close()


def test_what_making_a_batch_raises_is_raised_at_its_step() -> None:
    feed = new_feed(Noisy(broken_at=(0, 2)), depth=2)
    feed.next(State())
    feed.next(State(step=1, step_in_epoch=1))

    with pytest.raises(InvalidData, match="row 3 is broken"):
        feed.next(State(step=2, step_in_epoch=2))
    feed.close()

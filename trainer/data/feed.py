"""Where a step's micro-batches come from: made when they are asked for, or ahead of time in a thread, beside a GPU's work.

A batch is a pure function of its position in the run, so what was made ahead is exactly what would be made now, and a
resumed run needs nothing from the thread that is gone.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache

import torch

from trainer.data.batches import rows_of_step
from trainer.plan import Plan
from trainer.state import Run, State
from trainer.tasks.task import Batch, Draw, Task

DEPTH_ON_GPU = 2  # steps

Position = tuple[int, int]  # epoch, step in it


class Feed:
    """``depth`` steps are made ahead; 0 makes none and starts no thread.

    None is two on a GPU and 0 on CPUs, where the ranks' own threads fill the cores already.
    """

    def __init__(self, run: Run, task: Task, plan: Plan, *, depth: int | None = None) -> None:
        self._run, self._task, self._plan = run, task, plan
        self._on_gpu = run.ranks.device.type == "cuda"
        self._depth = (DEPTH_ON_GPU if self._on_gpu else 0) if depth is None else depth
        self._lane = Lane(run.ranks.device) if self._on_gpu and self._depth else None
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: dict[Position, Future[list[Batch]]] = {}
        self._orders = lru_cache(maxsize=2)(task.order)  # a step asks again, and some orders take a sort of all rows

    def next(self, state: State) -> list[Batch]:
        """This rank's micro-batches of the step at ``state``, on its device. What making them raises is raised here."""
        here = (state.epoch, state.step_in_epoch)
        if not self._depth:
            return self._make(here)
        wanted = [here]
        while len(wanted) <= self._depth:
            wanted.append(self._after(wanted[-1]))
        for position in [position for position in self._ahead if position not in wanted]:
            self._ahead.pop(position).cancel()
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="feed")
        for position in wanted:
            if position not in self._ahead:
                self._ahead[position] = self._pool.submit(self._make, position)
        batches = self._ahead.pop(here).result()
        if self._lane is not None:
            self._lane.hand_over(batches)
        return batches

    def close(self) -> None:
        """Gives up what was made ahead. Nothing waits for a batch that is being made."""
        for future in self._ahead.values():
            future.cancel()
        self._ahead.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def _after(self, position: Position) -> Position:
        epoch, step = position
        return (epoch, step + 1) if step + 1 < self._plan.steps_per_epoch else (epoch + 1, 0)

    def _make(self, position: Position) -> list[Batch]:
        if self._lane is None:
            return [self._moved(batch) for batch in self._micro_batches(position)]
        with self._lane.entered():
            return [self._moved(batch) for batch in self._micro_batches(position)]

    def _micro_batches(self, position: Position) -> Iterator[Batch]:
        (epoch, step), task, ranks = position, self._task, self._run.ranks
        order, accumulate = self._orders(epoch), task.knobs.accumulate
        num_parts = ranks.data_world * accumulate
        for part in range(ranks.data_rank * accumulate, (ranks.data_rank + 1) * accumulate):
            rows = rows_of_step(order, step=step, batch_size=self._plan.batch_size, part=part, num_parts=num_parts)
            yield task.train_batch(rows, Draw(seed=task.seed, epoch=epoch, step=step, part=part))

    def _moved(self, batch: Batch) -> Batch:
        """Pinned memory is what lets a copy to the GPU run beside its work."""
        device = self._run.ranks.device
        if not self._on_gpu:
            return {name: tensor.to(device) for name, tensor in batch.items()}
        pinned = {name: tensor.pin_memory() if tensor.device.type == "cpu" else tensor for name, tensor in batch.items()}
        return {name: tensor.to(device, non_blocking=True) for name, tensor in pinned.items()}


class Lane:
    """A CUDA stream for copies, so that they do not queue behind the kernels of the step before."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream(device))  # what the task put on the GPU is there before it is read

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within it this thread's work goes to the lane. At its end the work is done, not merely queued."""
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            yield
            self._stream.synchronize()

    def hand_over(self, batches: list[Batch]) -> None:
        """Keeps the lane from reusing the memory of tensors that kernels of this thread's stream may still read."""
        current = torch.cuda.current_stream(self._device)
        for batch in batches:
            for tensor in batch.values():
                if tensor.device.type == "cuda":
                    tensor.record_stream(current)

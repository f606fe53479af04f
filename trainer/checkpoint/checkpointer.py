"""Checkpoints in the course of a run: taken at a step, written behind the steps that follow."""

import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from trainer.checkpoint.contents import Contents, take
from trainer.checkpoint.reading import read
from trainer.checkpoint.writing import write
from trainer.errors import StorageFailed
from trainer.parallel import Ranks
from trainer.state import Learner, Run, State


@dataclass(slots=True)
class Write:
    """One checkpoint on its way to the disk."""

    step: int
    thread: threading.Thread | None = None
    failure: BaseException | None = None


class Checkpointer:
    """One write at a time. Training waits for copies of the tensors, and for the write before when that has not ended."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._beside: Ranks | None = None
        self._write: Write | None = None
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")  # one rank is meant

    @property
    def has_failed(self) -> bool:
        """Whether this rank knows that the last checkpoint could not be written. Ranks come to know it at different times."""
        return self._write is not None and self._write.failure is not None

    def raise_failure(self) -> None:
        """For all ranks, when one of them says that it has failed: the others are about to learn the same."""
        self.finish()
        raise StorageFailed("a checkpoint could not be written: another rank failed")

    def save(self, learner: Learner, state: State, *, wait: bool = False) -> float:
        """Starts to write the checkpoint of this step; with ``wait`` it is complete on return. A collective.

        The answer is for how many seconds this held training up. Raises StorageFailed on every rank when the checkpoint
        before could not be written, or with ``wait`` this one.
        """
        started = time.monotonic()
        self.finish()
        if self._write is None or self._write.step != state.step:
            self._start(take(self._run, learner, state))
        if wait:
            self.finish()
        return time.monotonic() - started

    def finish(self) -> None:
        """Waits until nothing is being written any more; raises what went wrong."""
        if self._write is None:
            return
        if self._write.thread is not None:
            self._write.thread.join()
        if self._write.failure is not None:
            raise self._write.failure

    def load(self, learner: Learner, folder: Path) -> State:
        """Puts ``learner`` back as ``folder`` has it, for any number of ranks; StorageFailed when it is damaged. A collective."""
        return read(self._run, learner, folder)

    def _start(self, contents: Contents) -> None:
        if self._beside is None:
            self._beside = self._run.ranks.beside()
        self._write = Write(step=contents.state.step)
        self._write.thread = threading.Thread(target=self._do, args=(self._write, self._beside, contents), name="checkpoint", daemon=True)
        self._write.thread.start()

    def _do(self, current: Write, ranks: Ranks, contents: Contents) -> None:
        try:
            write(self._run, ranks, contents)
            self._run.report.progress(checkpoint_step=current.step)
        except BaseException as error:  # why: raised again where training waits for it, or at the next agreement
            current.failure = error

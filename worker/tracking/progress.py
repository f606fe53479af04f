"""How far the script says it is."""

import time
from pathlib import Path

from core.run_dir import ProgressFile, read_model
from core.states import Phase


class Progress:
    """``note`` is None until something was told. Steps never fall: a report may come late."""

    def __init__(self, path: Path) -> None:
        self.note: ProgressFile | None = read_progress(path)

    def reached(self, step: int) -> None:
        """A metric of this step was told."""
        self.told(step=step)

    def told(
        self, *, step: int | None = None, total_steps: int | None = None, epoch: int | None = None, percentage: int | None = None
    ) -> None:
        """Without a step, the percentage counts as the share of ``total_steps``, or of 100 where nobody has told how many there are."""
        before = self.note or ProgressFile(phase=Phase.TRAINING, at=0.0)
        total_steps = total_steps or before.total_steps
        if step is None and percentage is not None:
            total_steps = total_steps or (100 if before.step == 0 else None)
            step = total_steps * percentage // 100 if total_steps else None
        step = max(before.step, step or 0)
        self.note = before.model_copy(
            update={
                "step": step,
                "total_steps": total_steps if total_steps and total_steps >= step else None,
                "epoch": before.epoch if epoch is None else epoch,
                "at": time.time(),
            }
        )


def read_progress(path: Path) -> ProgressFile | None:
    try:
        return read_model(path, ProgressFile)
    except ValueError:
        return None  # replaced with the next report

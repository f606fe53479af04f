"""What a run tells about itself while it trains: how busy its devices are, how full, what it waits for. Read where metrics are
logged; nothing here makes a step wait for a device.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from trainer.precision import Precision, chosen_precision
from trainer.state import Run
from trainer.tasks.task import Task

# Dense peak of one device in 1e12 operations per second, by what its name contains; the first that fits counts. Tensor cores
# in bf16 and fp16, then in tf32, then fp32 without them. From the makers' data sheets.
PEAKS: dict[str, tuple[float, float, float]] = {
    "B200": (2250, 1125, 75),
    "H200": (989, 494, 67),
    "H100 PCIe": (756, 378, 51),
    "H100 NVL": (835, 418, 60),
    "H100": (989, 494, 67),
    "A100": (312, 156, 19.5),
    "L40S": (362, 183, 91.6),
    "L40": (181, 90.5, 90.5),
    "L4": (121, 60, 30.3),
    "A10G": (70, 35, 31.2),
    "A10": (125, 62.5, 31.2),
    "RTX 4090": (165, 82.6, 82.6),
    "RTX 3090": (71, 35.6, 35.6),
    "V100": (112, 14, 14),
    "T4": (65, 8.1, 8.1),
}
# Positions in the tuples above.
COLUMNS: dict[Precision, int] = {"bf16": 0, "fp16": 0, "tf32": 1, "fp32": 2}


class Gauges:
    """``checkpoint_stall_seconds`` is what the last save cost the training thread; it is told once."""

    def __init__(self, run: Run, task: Task) -> None:
        self.checkpoint_stall_seconds: float | None = None
        self._device, self._num_ranks = run.ranks.device, run.ranks.world_size
        self._peak = peak_flops(run, task)
        self._flops_per_unit = task.flops_per_unit() if self._peak is not None else None  # some count them by a forward pass
        self._data_seconds, self._read_at = 0.0, time.monotonic()
        self._process = psutil.Process()

    @contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Around the making of batches: what the step cannot do anything else in."""
        started = time.monotonic()
        yield
        self._data_seconds += time.monotonic() - started

    def read(self, per_second: float) -> dict[str, float]:
        """Metrics since the last reading. ``per_second`` is the throughput in the task's units, over all ranks."""
        now = time.monotonic()
        values = {
            "data_wait_share": min(self._data_seconds / max(now - self._read_at, 1e-9), 1.0),
            "memory_bytes": self._memory(),
        }
        self._data_seconds, self._read_at = 0.0, now
        if self._flops_per_unit is not None and self._peak is not None:
            values["mfu"] = per_second * self._flops_per_unit / (self._peak * self._num_ranks)
        if self.checkpoint_stall_seconds is not None:
            values["checkpoint_stall_seconds"] = self.checkpoint_stall_seconds
            self.checkpoint_stall_seconds = None
        return values

    def _memory(self) -> float:
        """The most that rank 0 had of its GPU so far, or what it holds of main memory now."""
        if self._device.type == "cuda":
            return float(torch.cuda.max_memory_allocated(self._device))
        return float(self._process.memory_info().rss)


def peak_flops(run: Run, task: Task) -> float | None:
    """Operations per second that one device can do in the run's precision; None where nobody has told us."""
    if run.ranks.device.type != "cuda":
        return None
    column = COLUMNS[chosen_precision(run.ranks.device, task.knobs)]
    return peak_of(torch.cuda.get_device_name(run.ranks.device), column)


def peak_of(name: str, column: int) -> float | None:
    return next((peaks[column] * 1e12 for known, peaks in PEAKS.items() if known in name), None)

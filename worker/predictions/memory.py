"""How much memory the process of one model may take: what it holds beside jobs must not be the node's end."""

import os
from pathlib import Path

from core.settings import WorkerSettings
from worker.devices import DeviceInventory

GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_of_a_model(settings: WorkerSettings) -> int | None:
    """Bytes; None where there is no limit: CUDA's libraries reserve address space that counts as memory though it is none."""
    has_gpus = settings.accelerator != "cpu" and DeviceInventory.of_gpus() is not None
    if settings.predictor_max_bytes is not None or has_gpus:
        return settings.predictor_max_bytes
    return node_bytes() // 2


def node_bytes(group_limit: Path = GROUP_LIMIT) -> int:
    """Of the machine, or what its container may take, if that is less."""
    of_machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(of_machine, int(group_limit.read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return of_machine

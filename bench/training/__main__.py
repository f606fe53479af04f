"""`python -m bench.training [NAME ...] --data DIR` measures, prints, keeps the figures and writes them into RESULTS.md.

Without names, everything. DIR holds the datasets, a folder each: fashion-mnist, cifar10-subset, tinyshakespeare, sst2, wnut17,
free-spoken-digits, penguins, movietweetings-100k. ``--device cuda`` trains there; ``--render`` writes the page and measures nothing.
"""

import argparse
import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import torch

from bench.training.figures import Figure, command_of, keep, render
from bench.training.goals import GOALS, rows_of_goal
from bench.training.launch import Place

# name -> "module:function" of those that are more than a goal.
OTHERS: dict[str, str] = {
    "cifar10": "comparisons:cifar10",
    "tinyshakespeare": "comparisons:tinyshakespeare",
    "sst2-pretrained": "comparisons:sst2_pretrained",
    "wnut17": "comparisons:wnut17",
    "penguins": "comparisons:penguins",
    "movietweetings": "comparisons:movietweetings",
    "speed-image": "speed:image",
    "speed-gpt": "speed:gpt",
    "checkpoints": "overheads:checkpoints",
    "gauges": "overheads:gauges",
    "gpu-gpt2": "gpu:gpt2",
    "gpu-resnet50": "gpu:resnet50",
}
NEED_GPU = ("gpu-gpt2", "gpu-resnet50")
QUIET = 0.1  # cores
NAMES = (*dict.fromkeys((*GOALS, *OTHERS)),)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=__doc__.partition("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--data", type=Path, metavar="DIR", help="the folder that holds the datasets")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--render", action="store_true", help="writes the page from what was kept")
    asked = parser.parse_args()
    if asked.render:
        return render(NAMES)
    unknown = [name for name in asked.names if name not in NAMES]
    if unknown:
        sys.exit(f"no measurement {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if asked.data is None or not asked.data.is_dir():
        sys.exit("--data DIR must name the folder that holds the datasets, one folder each: fashion-mnist, sst2, ...")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that no attempt and no folder is left
    with tempfile.TemporaryDirectory(prefix="bench-training-") as work:
        place = Place(data=asked.data.resolve(), work=Path(work), device=asked.device)
        for name in asked.names or NAMES:
            measure(name, place)
    return None


def measure(name: str, place: Place) -> None:
    if name in NEED_GPU and not torch.cuda.is_available():
        print(f"{name}: this machine has no CUDA device; not measured", flush=True)
        return
    started, busy, own = time.monotonic(), cpu_seconds_of_all(), cpu_seconds_of_us()
    figures = []
    for figure in rows_of(name)(place):
        print(figure.row(command_of(name), "now"), flush=True)
        figures.append(figure)
    cores = len(Path("/proc/cpuinfo").read_text().split("processor\t")) - 1
    on_gpu = name in NEED_GPU or place.device == "cuda"
    device = torch.cuda.get_device_name() if on_gpu else f"{cores} cores"
    # Seconds that were measured beside others are no promise.
    others = (cpu_seconds_of_all() - busy - cpu_seconds_of_us() + own) / (time.monotonic() - started)
    keep(name, figures, device=device if others < QUIET else f"{device}, {others:.1f} of them busy with other things")
    render(NAMES)


def cpu_seconds_of_all() -> float:
    """Of every process of this machine since it was started."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


def cpu_seconds_of_us() -> float:
    """Of this process and of all that it has started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def rows_of(name: str) -> Callable[[Place], Iterator[Figure]]:
    if name not in OTHERS:
        return lambda place: rows_of_goal(place, GOALS[name])
    module, _, function = OTHERS[name].partition(":")
    found: Callable[[Place], Iterator[Figure]] = getattr(importlib.import_module(f"bench.training.{module}"), function)
    return found


if __name__ == "__main__":
    main()

"""What the engine's services cost while it trains: checkpoints that are written beside the steps, and metrics."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch

from bench.report import spread
from bench.training.figures import Figure
from bench.training.launch import Attempt, Place
from bench.training.speed import GPT, NEVER, steps_per_second
from core.run_dir import RunDir, RunFile, read_model
from trainer.gauges import Gauges
from trainer.metrics import Reporter
from trainer.parallel import Ranks
from trainer.state import Run
from trainer.stop import StopFlag
from trainer.tasks import new_task

RUNS = 3
NUM_STEPS, SAVE_EVERY = 60, 10
NUM_QUIET = 4  # of the steps between two checkpoints
# 25 million parameters: 8 layers of width 512; AdamW triples what is written.
LARGE: dict[str, Any] = {
    **GPT,
    "model": {"family": "gpt", "num_layers": 8, "num_heads": 8, "width": 512},
    "training": {"batch_size": 8, "max_steps": NUM_STEPS, "log_every_steps": 1},
}


def checkpoints(place: Place) -> Iterator[Figure]:
    """Seconds that one checkpoint adds to the steps after it, over the 60 s between two; from runs with one every 10 steps.

    Two runs of the same spec differ by more than a checkpoint costs, so each run is its own measure: by how much the steps until
    the next checkpoint took longer than as many of its quiet ones, those when the checkpoint had long been written. The stall,
    and what writing takes from the ranks' cores, are both in it. The last number is what the training thread itself stood
    still for, by the engine's own metric.
    """
    added, stalls = [], []
    for _ in range(RUNS):
        attempt = place.run({**LARGE, "checkpoints": {**NEVER, "every_steps": SAVE_EVERY}})
        added += seconds_added(attempt)
        stalls += attempt.series("checkpoint_stall_seconds")
        num_parameters = attempt.config()["num_parameters"]
        place.forget(attempt)
    share = [100 * seconds / 60 for seconds in added]
    what = f"checkpoint a minute, GPT of {num_parameters / 1e6:.1f} M parameters, 2 ranks"
    seen = f"mean {statistics.mean(share):.2f} %; {spread(share)} (each adds {spread(added)} s; "
    seen += f"the training thread stands still for {spread(stalls, 3)} s)"
    yield Figure(what, seen, "under 2 %", statistics.mean(share) < 2)


def seconds_added(attempt: Attempt) -> list[float]:
    """For each checkpoint but the last. RuntimeError when one was still being written in the steps that pass for quiet ones."""
    ended = {point["step"]: point["at"] for point in attempt.points() if "loss" in point["values"]}
    took = {step: ended[step] - ended[step - 1] for step in range(SAVE_EVERY + 1, NUM_STEPS + 1)}
    windows = [[took[start + n] for n in range(1, SAVE_EVERY + 1)] for start in range(SAVE_EVERY, NUM_STEPS, SAVE_EVERY)]
    quiet = statistics.median(seconds for window in windows for seconds in window[-NUM_QUIET:])
    last = NUM_STEPS - SAVE_EVERY
    if attempt.run_dir.checkpoint(last).stat().st_mtime > ended[last + SAVE_EVERY - NUM_QUIET]:
        raise RuntimeError(f"a checkpoint takes more than {SAVE_EVERY - NUM_QUIET} steps to write; none are left to compare with")
    return [sum(window) - SAVE_EVERY * quiet for window in windows]


def gauges(place: Place) -> Iterator[Figure]:
    """What telling every step costs rank 0, call by call, as a share of a small model's step on one thread."""
    attempt = place.run({**GPT, "training": {**GPT["training"], "log_every_steps": 1}}, num_ranks=1)
    step_seconds = 1 / steps_per_second(attempt)
    telling = [_seconds_of_telling(place, attempt) for _ in range(5)]
    shares = [100 * seconds / step_seconds for seconds in telling]
    seen = f"{spread(shares)} % ({statistics.median(telling) * 1e6:.0f} microseconds of {step_seconds * 1e3:.1f} ms)"
    yield Figure("metrics and progress at every step, small GPT", seen, "under 1 %", statistics.median(shares) < 1)


def _seconds_of_telling(place: Place, attempt: Attempt, num_calls: int = 2000) -> float:
    """One step's gauges, points and progress, as the loop calls them."""
    run_file = read_model(attempt.run_dir.spec, RunFile)
    assert run_file is not None
    run_dir = RunDir.create(place.work / f"telling{time.monotonic_ns()}")
    reporter = Reporter(run_dir, speaks=True)
    run = Run(file=run_file, dir=run_dir, ranks=Ranks(0, 1, torch.device("cpu")), stop=StopFlag(), report=reporter)
    gauges_of_run = Gauges(run, new_task(run))
    started = time.perf_counter()
    for step in range(1, num_calls + 1):
        with gauges_of_run.waiting_for_data():
            pass
        values = {"loss": 1.234567, "learning_rate": 1e-3, "gradient_norm": 0.789, "tokens_per_second": 12_345.6}
        reporter.points(step, {**values, **gauges_of_run.read(12_345.6)})
        reporter.progress(step=step, epoch=0)
    return (time.perf_counter() - started) / num_calls

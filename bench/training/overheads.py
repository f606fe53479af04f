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

PAIRS = 3
NUM_STEPS, SAVE_EVERY = 60, 10
LEAST_STEPS = 5  # before the first step that counts
# 25 million parameters: 8 layers of width 512; AdamW triples what is written.
LARGE: dict[str, Any] = {
    **GPT,
    "model": {"family": "gpt", "num_layers": 8, "num_heads": 8, "width": 512},
    "training": {"batch_size": 8, "max_steps": NUM_STEPS, "log_every_steps": 1},
}


def checkpoints(place: Place) -> Iterator[Figure]:
    """Seconds that one checkpoint adds, from runs with one every 10 steps and runs with none, in turn; over the 60 s between two.

    ``added``: by how much the steps between the first and the last took longer, divided by the number of checkpoints begun in
    between: the stall, and what writing
    takes from the ranks' cores. The other number is what the training thread itself stood still
    for, by the engine's own metric.
    """
    added, stalls, share = [], [], []
    for _ in range(PAIRS):
        without, with_saves = (place.run({**LARGE, "checkpoints": knobs}) for knobs in (NEVER, {**NEVER, "every_steps": SAVE_EVERY}))
        num_saves = (NUM_STEPS - 1) // SAVE_EVERY  # that of the last step ends after what is measured
        seconds = _seconds(with_saves) - _seconds(without)
        added.append(seconds / num_saves)
        share.append(100 * seconds / num_saves / 60)
        stalls += with_saves.series("checkpoint_stall_seconds")
        num_parameters = with_saves.config()["num_parameters"]
        place.forget(without, with_saves)
    what = f"checkpoint a minute, GPT of {num_parameters / 1e6:.1f} M parameters, 2 ranks"
    seen = f"{spread(share)} % (each adds {spread(added)} s; the training thread stands still for {spread(stalls, 3)} s)"
    yield Figure(what, seen, "under 2 %", statistics.median(share) < 2)


def _seconds(attempt: Attempt) -> float:
    points = [point for point in attempt.points() if "loss" in point["values"] and point["step"] >= LEAST_STEPS]
    return float(points[-1]["at"] - points[0]["at"])


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

"""A hung run is told from a slow one by the age of its progress; time is handed in."""

from pathlib import Path

import pytest

from core.run_dir import ProgressFile, RunDir, write_atomically
from core.states import Phase
from worker.stall import ProgressWatch, StallLimits

LIMITS = StallLimits(training=120, other_phases=900)


class Run:
    """A run directory and a clock."""

    def __init__(self, root: Path) -> None:
        self.dir = RunDir.create(root)
        self.now = 1000.0
        self.watch = ProgressWatch(self.dir, monotonic=lambda: self.now)

    def step(self, number: int, *, phase: Phase = Phase.TRAINING, after: float = 1.0) -> None:
        self.now += after
        write_atomically(self.dir.progress, ProgressFile(phase=phase, step=number, at=self.now), durable=False)
        assert self.watch.look()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_progress_is_new_once(run: Run) -> None:
    assert not run.watch.look()
    run.step(1)
    assert not run.watch.look()


def test_training_may_be_silent_for_the_least_time(run: Run) -> None:
    run.step(1)
    run.now += 119
    assert run.watch.stalled_for(LIMITS) is None
    run.now += 2
    assert run.watch.stalled_for(LIMITS) == pytest.approx(121)


def test_slow_steps_get_five_times_their_median(run: Run) -> None:
    for number in range(1, 6):
        run.step(number, after=100.0)
    run.now += 499
    assert run.watch.stalled_for(LIMITS) is None
    run.now += 2
    assert run.watch.stalled_for(LIMITS)


def test_several_steps_between_two_looks_count_as_several(run: Run) -> None:
    run.step(1)
    run.step(11, after=1000.0)  # 100 s each
    run.now += 400
    assert run.watch.stalled_for(LIMITS) is None


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.EVALUATING, Phase.PACKAGING])
def test_other_phases_have_their_own_limit(run: Run, phase: Phase) -> None:
    run.step(1, phase=phase)
    run.now += 899
    assert run.watch.stalled_for(LIMITS) is None
    run.now += 2
    assert run.watch.stalled_for(LIMITS)


def test_silence_from_the_start_counts_as_preparing(run: Run) -> None:
    run.now += 901
    assert run.watch.stalled_for(LIMITS)


def test_the_limit_of_a_spec_replaces_ours_while_training_alone(run: Run) -> None:
    limits = StallLimits(training=120, other_phases=900, asked=3)
    run.step(1, phase=Phase.PREPARING)
    run.now += 100
    assert run.watch.stalled_for(limits) is None
    run.step(1)
    run.now += 4
    assert run.watch.stalled_for(limits)


def test_a_file_that_cannot_be_read_is_no_progress(run: Run) -> None:
    run.step(1)
    run.dir.progress.write_text("{")
    assert not run.watch.look()
    run.now += 121
    assert run.watch.stalled_for(LIMITS)

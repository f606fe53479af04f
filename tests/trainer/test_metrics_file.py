"""Telling never fails a step: full disks, torn lines, numbers that JSON cannot hold."""

import errno
import os
from pathlib import Path

import pytest

from core.run_dir import MetricLine, ProgressFile, RunDir, read_complete_lines, read_model
from core.states import Phase
from trainer.metrics import MetricsLog, ProgressNote, Reporter


def lines(path: Path) -> list[MetricLine]:
    return [MetricLine.model_validate_json(line) for line in read_complete_lines(path, 0)[0]]


def test_a_point_can_be_read_as_soon_as_it_is_told(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", next_seq=5)
    log.add(1, {"loss": 2.5})

    (line,) = lines(log.path)
    assert (line.seq, line.step, line.values) == (5, 1, {"loss": 2.5})
    assert log.next_seq == 6


def test_what_json_cannot_hold_is_left_out(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.add(1, {"loss": 1.0, "validation_loss": float("inf"), "accuracy": float("nan")})

    assert lines(log.path)[0].values == {"loss": 1.0}


def test_a_disk_that_is_full_for_a_while_costs_points_but_tears_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes ten bytes of the second line, nothing for a while, then everything."""
    log, write, room = MetricsLog(tmp_path / "metrics.jsonl"), os.write, [1000, 10, 0, 0]

    def write_what_fits(descriptor: int, data: bytes) -> int:
        limit = room.pop(0) if room else 1000
        if limit == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:limit])

    monkeypatch.setattr(os, "write", write_what_fits)
    for step in range(1, 7):
        log.add(step, {"loss": float(step)})

    assert [line.step for line in lines(log.path)] == [1, 2, 5, 6]
    assert log.losses.num == 2


def test_a_first_failure_is_said_aloud_and_training_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Reporter(RunDir(tmp_path / "gone"), speaks=True)
    for step in range(3):
        report.points(step, {"loss": 1.0})
        report.progress(phase=Phase.TRAINING, checkpoint_step=step)

    told = capsys.readouterr().err
    assert told.count("cannot write metrics.jsonl") == 1
    assert told.count("cannot write progress.json") == 1


def test_a_change_of_phase_or_checkpoint_is_told_at_once_and_a_step_soon(tmp_path: Path) -> None:
    note = ProgressNote(RunDir(tmp_path))
    note.update(phase=Phase.TRAINING)
    note.update(step=1)
    assert _told(note).step == 1, "the first step is told at once"

    note.update(step=2)
    assert _told(note).step == 1
    note.update(checkpoint_step=2)
    assert (_told(note).step, _told(note).checkpoint_step) == (2, 2)
    note.update(phase=Phase.EVALUATING)
    assert _told(note).phase is Phase.EVALUATING


def test_only_the_first_rank_speaks(tmp_path: Path) -> None:
    report = Reporter(RunDir(tmp_path), speaks=False)
    report.points(1, {"loss": 1.0})
    report.progress(step=1)

    assert list(tmp_path.iterdir()) == []


def _told(note: ProgressNote) -> ProgressFile:
    told = read_model(note.path, ProgressFile)
    assert told is not None
    return told

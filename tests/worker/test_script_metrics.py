"""Metrics of scripts that never heard of us: TensorBoard's files, and lines by pattern."""

import base64
import json
import os
import time
import zlib
from pathlib import Path

import pytest

from core.recipes.script import MetricPattern
from core.run_dir import ProgressFile, RunDir, read_complete_lines, read_model
from core.states import Phase
from worker.materialise import CannotPrepare
from worker.script.event_files import EventFile
from worker.script.layout import ScriptDirs
from worker.script.metrics import ScriptMetrics
from worker.script.printed import PrintedMetrics

# What torch.utils.tensorboard.SummaryWriter (tensorboard 2.x) left: train/loss as 1, 1/2, 1/3 at steps 0 to 2; at step 2 eval/acc 0.5 and
# double 0.25 as tensors (new_style); a text.
EVENTS = zlib.decompress(
    base64.b64decode(
        "eNrzYICAf5M85nIeZfllXHfwlqMUb1JRYmaenmtZal6JlVGQHpdOSWpecX5RUn5iUYpecWlubmJRpV55UWZJapFeKkhVfFpmTmo8"
        "RCS9qbdADmruzTtCRpyXuSHmaglzCXJxlYDM1s/JLy4WZWBosD/aL8ahAFWt+XZlAKcsD0S1ACMW9Qz2y88c8UBR7wpTz4ShfvWq"
        "VXYXas5oGUDVT/16IZ5zF0K9MpciF0dqWWKOfmJyshMHB6MWC8gKL24uTi724uTEnMSiYt6qYzlGUP0qkmFvOH8h9KtyKXOxpeSX"
        "JuWkOvFwMBlxQJRdQDXh5q9OZ1uoCQmeH99w5vPCfWjApcclmJdfkqpfklpREg8NWid+DnYhFiEmDkYn1ozUnJx8Lw4uNi4WkJJl"
        "nFsVAN2zgTM="
    )
)


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    run_dir = RunDir.create(tmp_path / "run")
    ScriptDirs.of(run_dir).create()
    return run_dir


def pattern(name: str, text: str) -> MetricPattern:
    return MetricPattern(name=name, pattern=text)


def prints(run_dir: RunDir, text: bytes) -> None:
    path = run_dir.logs / "x" / "attempt_0" / "0" / "stdout.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(text)


def test_a_real_event_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(EVENTS)
    found = list(EventFile(tmp_path, tmp_path / "events").read())
    values = [(item.step, name, round(value, 4)) for item in found for name, value in item.values.items()]
    assert values == [(0, "train/loss", 1.0), (1, "train/loss", 0.5), (2, "train/loss", 0.3333), (2, "eval/acc", 0.5), (2, "double", 0.25)]
    assert all(item.at > 1.7e9 for item in found)


def test_a_torn_record_waits_for_its_rest(tmp_path: Path) -> None:
    file = EventFile(tmp_path, tmp_path / "events")
    read = []
    for end in range(0, len(EVENTS) + 1, 7):
        file.path.write_bytes(EVENTS[:end])
        read += [item.step for item in file.read()]
    file.path.write_bytes(EVENTS)
    read += [item.step for item in file.read()]
    assert read == [0, 1, 2, 2, 2]


def test_what_is_no_event_file_is_left_alone(tmp_path: Path) -> None:
    for content in (
        os.urandom(5000),
        b"\xff" * 100,
        EVENTS[:60] + os.urandom(400),
        b"\x05" + bytes(11) + b"\xff\xff\xff\xff\xff" + bytes(4),
    ):
        (tmp_path / "events").write_bytes(content)
        assert [item.step for item in EventFile(tmp_path, tmp_path / "events").read() if item.step > 2] == []


def test_a_pipe_in_place_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("pipe", "link", "absent"):
        assert list(EventFile(tmp_path, tmp_path / name).read()) == []


def test_lines_by_pattern_with_and_without_a_step(run_dir: RunDir) -> None:
    plain = PrintedMetrics(run_dir, [pattern("loss", r"loss[=:] ?([-0-9.e+]+)")])
    prints(run_dir, b"loss: 0.5\nnothing\nloss=2e-1 (good)\nloss: many\nloss: 0.")
    assert [(item.step, item.values) for item in plain.read(0.0)] == [(1, {"loss": 0.5}), (2, {"loss": 0.2})]
    prints(run_dir, b"125\n")
    assert [(item.step, item.values) for item in plain.read(0.0)] == [(3, {"loss": 0.125})]
    stepped = PrintedMetrics(run_dir, [pattern("step", r"it (\d+)"), pattern("acc", r"acc ([0-9.]+)")])
    prints(run_dir, b"it 40\nacc 0.5\nit 41 acc 0.6\n")
    assert [(item.step, item.values) for item in stepped.read(0.0)] == [(40, {"acc": 0.5}), (41, {"acc": 0.6})]


def test_no_pattern_and_no_line_can_stop_a_supervisor(run_dir: RunDir) -> None:
    """Python's own engine would need longer than the universe is old for the first line."""
    metrics = PrintedMetrics(run_dir, [pattern("evil", r"^((a+)+)+$"), pattern("ok", r"ok (\d)")])
    prints(run_dir, b"a" * 1900 + b"!\n" + b"a" * 5_000_000 + b"\nok 1\n")
    start, found = time.monotonic(), []
    for _ in range(8):
        found += metrics.read(0.0)
    assert [item.values for item in found] == [{"ok": 1.0}]
    assert time.monotonic() - start < 5


def test_a_pattern_that_re2_does_not_take_ends_the_attempt_with_its_place(run_dir: RunDir) -> None:
    with pytest.raises(CannotPrepare, match="metric_patterns/0/pattern"):
        PrintedMetrics(run_dir, [pattern("a", r"(a)(?i:b){1001}")])


def test_everything_goes_to_one_file_and_tells_progress(run_dir: RunDir) -> None:
    dirs = ScriptDirs.of(run_dir)
    metrics = ScriptMetrics(run_dir, dirs, [pattern("loss", r"loss ([0-9.]+)")])
    metrics.tell_progress()
    (dirs.tensorboard / "events.out.tfevents.1.host").write_bytes(EVENTS)
    prints(run_dir, b"loss 0.5\n")
    metrics.gather(is_over=True)
    lines, _ = read_complete_lines(run_dir.metrics, 0)
    assert {name for line in lines for name in json.loads(line)["values"]} == {"loss", "train/loss", "eval/acc", "double"}
    progress = read_model(run_dir.progress, ProgressFile)
    assert progress is not None
    assert (progress.phase, progress.step) == (Phase.TRAINING, 2)
    assert metrics.last_values() == {"loss": 0.5, "train/loss": pytest.approx(1 / 3), "eval/acc": 0.5, "double": 0.25}


def test_progress_that_the_script_tells_itself_is_not_overwritten(run_dir: RunDir) -> None:
    metrics = ScriptMetrics(run_dir, ScriptDirs.of(run_dir), [pattern("loss", r"loss ([0-9.]+)")])
    metrics.tell_progress()
    run_dir.reports.mkdir()
    (run_dir.reports / "progress.json").write_text(json.dumps({"phase": "training", "step": 90, "at": 1.0}))
    prints(run_dir, b"loss 0.5\n")
    metrics.gather()
    assert metrics.last_step() == 90
    progress = read_model(run_dir.progress, ProgressFile)
    assert progress is not None
    assert (progress.step, progress.at) == (90, 1.0)


def test_what_the_script_reports_itself_is_taken_over_once(run_dir: RunDir) -> None:
    metrics = ScriptMetrics(run_dir, ScriptDirs.of(run_dir), [])
    run_dir.reports.mkdir()
    lines = [json.dumps({"seq": step, "step": step, "at": 1.0, "values": {"loss": 1 / step}}) for step in (1, 2)]
    for line in lines:
        with (run_dir.reports / "metrics.jsonl").open("a") as file:
            file.write(line + "\n")
        metrics.gather()
    metrics.gather(is_over=True)
    assert run_dir.metrics.read_text().splitlines() == lines
    assert metrics.last_values() == {"loss": 0.5}


def test_nothing_that_is_reported_is_lost_at_the_end_or_beside_nonsense(run_dir: RunDir) -> None:
    """More than one look takes, a line without an end that fills one, and progress that is none."""
    metrics = ScriptMetrics(run_dir, ScriptDirs.of(run_dir), [])
    run_dir.reports.mkdir()
    lines = [json.dumps({"seq": step, "step": step, "at": 1.0, "values": {"loss": 1 / step}}) for step in range(1, 30_000)]
    told = "\n".join([*lines[:10], "x" * (3 << 20), *lines[10:], ""])
    assert len("\n".join(lines)) > 2 << 20
    (run_dir.reports / "metrics.jsonl").write_text(told)
    (run_dir.reports / "progress.json").write_text("no progress")
    metrics.gather(is_over=True)
    kept = run_dir.metrics.read_text().splitlines()
    assert [line for line in kept if line.startswith("{")] == lines
    assert len(kept) <= len(lines) + 1, "the end of the long one"


def test_links_in_the_place_of_reports_lead_nowhere(run_dir: RunDir, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"seq": 1, "step": 1, "at": 1.0, "values": {"loss": 7}}\n')
    run_dir.reports.mkdir()
    (run_dir.reports / "metrics.jsonl").symlink_to(secret)
    os.mkfifo(run_dir.reports / "progress.json")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "events.out.tfevents.1.host").write_bytes(EVENTS)
    dirs = ScriptDirs.of(run_dir)
    dirs.tensorboard.rmdir()
    dirs.tensorboard.symlink_to(elsewhere)
    metrics = ScriptMetrics(run_dir, dirs, [])
    metrics.gather(is_over=True)
    assert not run_dir.metrics.exists()

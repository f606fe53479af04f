"""The run directory: readers see whole lines and whole files, whatever the writer is doing."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.manifest import MANIFEST, seal
from core.run_dir import REASON_OF_EXCEPTION, ProgressFile, RunDir, StopFile, read_complete_lines, read_model, write_atomically
from core.states import EFFECTS, Budget, Phase


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "a1")


def test_a_torn_last_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_complete_lines(path, 0) == ([], 0)
    path.write_bytes(b'{"a": 1}\n{"b"')
    lines, offset = read_complete_lines(path, 0)
    assert (lines, offset) == ([b'{"a": 1}'], 9)
    with path.open("ab") as file:
        file.write(b": 2}\n")
    assert read_complete_lines(path, offset) == ([b'{"b": 2}'], 18)


@given(
    lines=st.lists(st.integers(-(10**20), 10**20).map(lambda number: json.dumps({"n": number}).encode()), max_size=30),
    size=st.integers(40, 200),
)
def test_lines_read_in_pieces_are_the_lines_written(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], size: int) -> None:
    path = tmp_path_factory.mktemp("lines") / "metrics.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    found: list[bytes] = []
    offset = 0
    while True:
        more, offset = read_complete_lines(path, offset, max_bytes=size)
        found += more
        if not more:
            break
    assert found == lines
    assert offset == path.stat().st_size


def test_a_reader_never_sees_half_a_file(run_dir: RunDir) -> None:
    """A writer replaces the file as fast as it can while this thread reads it."""
    stop = threading.Event()

    def write() -> None:
        step = 0
        while not stop.is_set():
            step += 1
            write_atomically(run_dir.progress, ProgressFile(phase=Phase.TRAINING, step=step, at=0.0), durable=False)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        steps = [progress.step for _ in range(3000) if (progress := read_model(run_dir.progress, ProgressFile))]
    finally:
        stop.set()
        writer.join()
    assert steps == sorted(steps)
    assert len(steps) > 100
    assert [path.name for path in run_dir.root.iterdir() if path.is_file()] == ["progress.json"]


def test_absent_is_none_and_broken_is_an_error(run_dir: RunDir) -> None:
    assert read_model(run_dir.stop, StopFile) is None
    run_dir.stop.write_text("{")
    with pytest.raises(ValidationError):
        read_model(run_dir.stop, StopFile)


def test_asking_to_stop_says_why_and_when(run_dir: RunDir) -> None:
    run_dir.ask_to_stop("drain")
    stop = read_model(run_dir.stop, StopFile)
    assert stop is not None
    assert (stop.reason, stop.asked_at.tzinfo is not None) == ("drain", True)


def test_promise_11_a_corrupt_checkpoint_is_passed_over_and_reported(run_dir: RunDir) -> None:
    for step in (5, 40, 200):
        folder = run_dir.checkpoint(step)
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights of step %d" % step)
        seal(folder, {"step": step})
    run_dir.checkpoint(300).mkdir()  # never sealed: not a checkpoint at all
    assert [path.name[-3:] for path in run_dir.complete_checkpoints()] == ["200", "040", "005"]
    (run_dir.checkpoint(200) / "model.safetensors").write_bytes(b"weights of step 2O0")
    (run_dir.checkpoint(40) / MANIFEST).write_text("{")
    newest, findings = run_dir.newest_verified_checkpoint()
    assert newest == run_dir.checkpoint(5)
    assert len(findings) == 2
    assert "step-000000000200/model.safetensors" in findings[0]


def test_nothing_to_resume_from_is_said_plainly(run_dir: RunDir) -> None:
    assert run_dir.newest_verified_checkpoint() == (None, [])


def test_the_folders_are_for_their_owner_alone(run_dir: RunDir) -> None:
    assert run_dir.scratch.stat().st_mode & 0o077 == 0
    assert RunDir.create(run_dir.root) == run_dir


def test_the_exceptions_of_a_trainer_lead_to_failures() -> None:
    assert {EFFECTS[reason].budget for reason in REASON_OF_EXCEPTION.values()} <= {Budget.USER, Budget.INFRASTRUCTURE}


def test_a_line_that_is_longer_than_a_look_holds_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\n" + b"x" * 25 + b"\nb\n")
    found, offset = [], 0
    for _ in range(5):
        lines, offset = read_complete_lines(path, offset, 10)
        found += lines
    assert (found[0], found[-1], offset) == (b"a", b"b", 30)
    assert read_complete_lines(path, offset, 10) == ([], 30)

"""``trainyard.run`` inside a script: alone in a folder, and as the service starts it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.manifest import verify
from core.run_dir import MetricLine, ProgressFile, RunDir, read_complete_lines, read_model

LOOP = """
import json, sys
from trainyard import run
start = json.loads((run.resume_from() / "state.json").read_text()) if run.resume_from() else 0
for step in range(start + 1, start + 4):
    run.log(step, loss=1 / step, odd=float("nan"))
    open("state.json", "w").write(str(step))
    run.save_checkpoint("state.json", step=step)
print(start)
"""


def execute(code: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environ = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60)


def test_without_the_service_everything_goes_to_a_folder_and_the_next_run_goes_on(tmp_path: Path) -> None:
    assert execute(LOOP, tmp_path).stdout == "0\n"
    assert execute(LOOP, tmp_path).stdout == "3\n"
    run_dir = RunDir(tmp_path / "trainyard-run")
    lines, _ = read_complete_lines(run_dir.metrics, 0)
    assert [MetricLine.model_validate_json(line.replace(b"null", b"0")).step for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [path.name[-1] for path in run_dir.complete_checkpoints()] == ["6", "5"]
    assert verify(run_dir.checkpoint(6)).meta == {"kind": "saved", "step": 6}
    progress = read_model(run_dir.progress, ProgressFile)
    assert progress is not None
    assert (progress.step, progress.checkpoint_step) == (6, 6)


def test_importing_it_needs_the_standard_library_alone(tmp_path: Path) -> None:
    code = "import sys; from trainyard import run; sys.exit(bool({'httpx2', 'pydantic', 'typer', 'core'} & sys.modules.keys()))"
    assert execute(code, tmp_path).returncode == 0


def test_the_service_tells_where_things_are(tmp_path: Path) -> None:
    told = {
        "TRAINYARD_RUN_DIR": str(tmp_path / "run"),
        "TRAINYARD_RUN_OUTPUT_DIR": str(tmp_path / "out"),
        "TRAINYARD_RUN_CHECKPOINT_DIR": str(tmp_path / "kept"),
        "TRAINYARD_RUN_RESUME_FROM": "/before",
        "TRAINYARD_RUN_CHANNELS": '{"training": "/data"}',
    }
    code = "from trainyard import run; print(run.output_dir(), run.checkpoint_dir(), run.resume_from(), run.dataset())"
    assert execute(code, tmp_path, **told).stdout.split() == [str(tmp_path / "out"), str(tmp_path / "kept"), "/before", "/data"]
    unknown = execute("from trainyard import run; run.dataset('test')", tmp_path, **told)
    assert "no dataset 'test'; it has training" in unknown.stderr


def test_ranks_but_the_first_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("1")
    code = "from trainyard import run; run.log(1, loss=1); run.save_checkpoint('state', step=1)"
    assert execute(code, tmp_path, RANK="1").returncode == 0
    assert not (tmp_path / "trainyard-run").exists()


@pytest.mark.parametrize(
    "call", ["run.log(-1, loss=1)", "run.log(1, loss='much')", "run.save_checkpoint('absent', step=1)", "run.secret('../x')"]
)
def test_bad_input_is_an_error_and_leaves_nothing_half(call: str, tmp_path: Path) -> None:
    assert execute(f"from trainyard import run; {call}", tmp_path).returncode == 1
    root = tmp_path / "trainyard-run"
    assert not (root / "metrics.jsonl").exists()
    assert not list(root.glob("checkpoints/step-*"))


def test_a_folder_is_saved_with_all_that_lies_below_it(tmp_path: Path) -> None:
    (tmp_path / "state" / "deep").mkdir(parents=True)
    (tmp_path / "state" / "deep" / "weights").write_bytes(os.urandom(1000))
    (tmp_path / "state" / "deep" / "manifest.json").write_text("the script's own")
    execute("from trainyard import run; run.save_checkpoint('state', step=7)", tmp_path)
    names = {file.path for file in verify(RunDir(tmp_path / "trainyard-run").checkpoint(7)).files}
    assert names == {"deep/weights", "deep/manifest.json"}


def test_sigterm_is_a_request_to_whoever_asks(tmp_path: Path) -> None:
    code = (
        "import time; from trainyard import run; run.stop_requested(); print('ready', flush=True)\n"
        "while not run.stop_requested(): time.sleep(0.01)"
    )
    environ = {"PATH": os.environ["PATH"]}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    (tmp_path / "trainyard-run" / "stop.json").write_text(json.dumps({}))
    assert execute("import sys; from trainyard import run; sys.exit(0 if run.stop_requested() else 1)", tmp_path).returncode == 0


@pytest.mark.parametrize("hears_by", ["file", "signal"])
def test_a_signal_that_comes_while_python_ends_changes_nothing_any_more(tmp_path: Path, hears_by: str) -> None:
    """Modules are taken down after Python's own signal handlers."""
    (tmp_path / "trainyard-run").mkdir()
    code = (
        "import os, signal; from trainyard import run\n"
        "class Last:\n"
        "    def __del__(self, kill=os.kill, number=signal.SIGTERM, myself=os.getpid()): kill(myself, number)\n"
        "last = Last()\n"
        "assert not run.stop_requested()\n"
        "{}\n"
        "assert run.stop_requested()"
    )
    asks = {"file": "open('trainyard-run/stop.json', 'w').close()", "signal": "os.kill(os.getpid(), signal.SIGTERM)"}
    done = execute(code.format(asks[hears_by]), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")

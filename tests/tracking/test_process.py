"""The server's process: what it keeps when it is killed, what the next attempt begins with, and when it ends."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.bed.waiting import until
from tests.tracking.serving import API, ARTIFACTS, PROGRAMS, RUN_ID, Attempt
from worker.tracking.process import DidNotListen, TrackingProcess, environment, make_token


def kill(attempt: Attempt) -> None:
    pid = attempt.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: attempt.process.pid is None, within=10, what="the server to be dead")


def tell_until_it_dies(attempt: Attempt, answered: list[int]) -> None:
    connection = HTTPConnection("127.0.0.1", attempt.port, timeout=20)
    headers = {"Authorization": f"Bearer {attempt.token}"}
    for step in range(1_000_000):
        body = {"run_id": RUN_ID, "metrics": [{"key": "loss", "value": step, "timestamp": step, "step": step}]}
        body["params"] = [{"key": f"p{step % 50}", "value": str(step)}]
        try:
            connection.request("POST", f"{API}/runs/log-batch", json.dumps(body), headers)
            if connection.getresponse().read() != b"{}":
                return
        except OSError:
            return
        answered.append(step)


def test_a_kill_loses_nothing_that_was_answered_and_the_port_stays(attempt: Attempt, tmp_path: Path) -> None:
    assert attempt.ask("PUT", f"{ARTIFACTS}/{RUN_ID}/a.txt", b"kept")[0] == 200
    answered: list[int] = []
    teller = threading.Thread(target=tell_until_it_dies, args=(attempt, answered))
    teller.start()
    until(lambda: len(answered) >= 200, within=30)
    kill(attempt)
    teller.join(30)
    port = attempt.port

    attempt.start()

    assert attempt.port == port
    steps = [step for step, _ in attempt.series("loss")]
    assert steps[: len(answered)] == answered
    assert len(steps) - len(answered) in (0, 1), "the last may have been written and not answered"
    assert [line.seq for line in attempt.lines()] == list(range(len(steps)))
    run = attempt.ask("GET", f"{API}/runs/get?run_id={RUN_ID}")[1]["run"]
    assert run["data"]["metrics"][0]["step"] == steps[-1]
    assert {item["key"]: item["value"] for item in run["data"]["params"]}[f"p{answered[-1] % 50}"] in map(str, steps[-2:])
    assert attempt.log_metric("loss", answered[-1], answered[-1], at_ms=answered[-1])[0] == 200, "told again, as a client does"
    assert len(attempt.series("loss")) == len(steps)
    assert attempt.log_metric("loss", 0.5, len(steps), at_ms=len(steps))[0] == 200
    assert attempt.lines()[-1].seq == len(steps)
    attempt.process.stop()
    assert (attempt.folder.artifacts / "a.txt").read_bytes() == b"kept"


def test_a_script_goes_on_when_the_server_was_killed_and_started_again(attempt: Attempt, tmp_path: Path) -> None:
    program = [sys.executable, str(PROGRAMS / "log_for_a_while.py")]
    with subprocess.Popen(program, env=attempt.variables(), cwd=tmp_path, stderr=subprocess.PIPE, text=True) as script:
        until(lambda: len(attempt.series("loss")) >= 20, within=60, what="the script to log")
        kill(attempt)
        attempt.start()
        said = script.communicate(timeout=60)[1]
    assert script.returncode == 0, said[-4000:]
    assert [step for step, _ in attempt.series("loss")] == list(range(200))


def test_the_next_attempt_begins_with_what_was_told(attempt: Attempt, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        attempt.log_metric("loss", 1 / step, step)
    attempt.ask("POST", f"{API}/runs/log-parameter", {"run_id": RUN_ID, "key": "lr", "value": "0.1"})
    attempt.ask("POST", f"{API}/runs/set-tag", {"run_id": RUN_ID, "key": "team", "value": "blue"})
    attempt.ask("PUT", f"{ARTIFACTS}/{RUN_ID}/deep/a.txt", b"first")
    kill(attempt)
    with attempt.folder.metrics.open("ab") as file:
        file.write(b'{"seq": 3, "step": 4, "at"')  # a line that its writer did not finish

    second = Attempt(tmp_path / "a2", carry_from=attempt.folder.root)
    second.start()
    history = f"{API}/metrics/get-history?run_id={RUN_ID}&metric_key=loss"
    assert [item["step"] for item in second.ask("GET", history)[1]["metrics"]] == [1, 2, 3]
    assert second.lines() == [], "what the attempt before has shipped is not shipped again"
    run = second.ask("GET", f"{API}/runs/get?run_id={RUN_ID}")[1]["run"]["data"]
    assert {item["key"]: item["value"] for item in run["params"]} == {"lr": "0.1"}
    assert {"key": "team", "value": "blue"} in run["tags"]
    second.log_metric("loss", 0.3, 3, at_ms=2_000)
    second.ask("POST", f"{API}/runs/log-parameter", {"run_id": RUN_ID, "key": "lr", "value": "0.2"})
    second.ask("PUT", f"{ARTIFACTS}/{RUN_ID}/deep/a.txt", b"second")
    kill(second)

    third = Attempt(tmp_path / "a3", carry_from=second.folder.root)
    third.start()
    assert [item["value"] for item in third.ask("GET", history)[1]["metrics"]] == [1.0, 1 / 2, 1 / 3, 0.3]
    for one in (second, third):
        one.process.stop()
    assert third.files()["params"] == {"values": {"lr": "0.2"}, "replaced": {"lr": ["0.1"]}}
    assert [(path / "deep" / "a.txt").read_bytes() for path in (attempt.folder.artifacts, third.folder.artifacts)] == [b"first", b"second"]


def test_the_files_follow_while_the_server_runs(attempt: Attempt) -> None:
    attempt.ask("POST", f"{API}/runs/log-parameter", {"run_id": RUN_ID, "key": "lr", "value": "0.1"})
    attempt.log_metric("loss", 1.0, 7)
    until(lambda: attempt.folder.params.exists() and "0.1" in attempt.folder.params.read_text(), within=10)
    until(lambda: attempt.folder.progress.exists() and json.loads(attempt.folder.progress.read_text())["step"] == 7, within=10)


def test_the_server_dies_with_its_parent(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    make_token(token_file)
    program = (
        "import os, sys, pathlib; from worker.tracking.process import TrackingProcess as P; root = pathlib.Path(sys.argv[1]);"
        "process = P(root / 'tracking', run_id='job_0001', token_file=root / 'token'); process.start(os.environ);"
        "print(process.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        server = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        until(lambda: _has_ended(server), within=10, what="the server to follow its parent")
    finally:
        os.close(server)


def _has_ended(handle: int) -> bool:
    """Of a process that is not our child: the kernel says so when we want to signal it."""
    try:
        signal.pidfd_send_signal(handle, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_server_that_cannot_start_says_so(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("")
    process = TrackingProcess(tmp_path / "tracking", run_id=RUN_ID, token_file=token_file)
    with pytest.raises(DidNotListen):
        process.start(os.environ)
    assert process.pid is None


def test_the_token_is_in_a_private_file_and_not_among_the_servers_arguments(attempt: Attempt) -> None:
    pid = attempt.process.pid
    assert stat.S_IMODE(attempt.token_file.stat().st_mode) == 0o600
    assert len(attempt.token) >= 32
    for name in ("cmdline", "environ"):
        assert attempt.token.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    with pytest.raises(FileExistsError):
        make_token(attempt.token_file)


def test_the_server_is_told_nothing_of_the_workers_environment(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "a1")
    attempt.process.start({**os.environ, "TRAINYARD_WORKER_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "secret"})
    try:
        assert b"secret" not in Path(f"/proc/{attempt.process.pid}/environ").read_bytes()
    finally:
        attempt.process.stop()


def test_it_listens_on_the_loopback_only(attempt: Attempt) -> None:
    """Rows of /proc/net/tcp: local address and port in hexadecimal, state 0A is LISTEN."""
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    assert [row[1] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == attempt.port] == [
        f"0100007F:{attempt.port:04X}"
    ]


@pytest.mark.parametrize(
    ("base", "direct"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "example.org, .corp"}, "example.org,.corp,127.0.0.1,localhost"),
        ({"NO_PROXY": "a", "no_proxy": "b,localhost"}, "b,localhost,127.0.0.1"),
    ],
)
def test_the_variables_lead_a_script_past_every_proxy(tmp_path: Path, base: dict[str, str], direct: str) -> None:
    token_file = tmp_path / "token"
    token = make_token(token_file)
    assert environment(4321, token_file, run_id="job_1", experiment="e", base=base) == {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:4321",
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_RUN_ID": "job_1",
        "MLFLOW_EXPERIMENT_NAME": "e",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "KUBEFLOW_TRAINER_SERVER_URL": "http://127.0.0.1:4321/kubeflow/status",
        "KUBEFLOW_TRAINER_SERVER_TOKEN": str(token_file),
        "NO_PROXY": direct,
        "no_proxy": direct,
    }

"""``trainyard up`` as a user runs it: real processes, real signals."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from core.states import JobState, Reason
from tests.bed.census import Seen, everyone, family, touching
from tests.bed.processes import Process
from tests.bed.waiting import until
from trainyard import Client
from trainyard.up.folder import StateFolder

READY_SECONDS = 100.0
ROOT = Path(__file__).parents[2]


class Up:
    """One ``trainyard up`` on a state folder of its own."""

    def __init__(self, home: Path) -> None:
        self.folder = StateFolder(home)
        self.output = home.with_suffix(".out")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}
        argv = [sys.executable, "-m", "trainyard", "up", "--home", str(home), "--port", "0"]
        self.process = Process(argv, log=self.output, environment=environment, cwd=ROOT)

    def start(self) -> None:
        self.process.start()
        until(self._is_ready, within=READY_SECONDS, what="trainyard up is ready", explain=self.explain)

    @property
    def url(self) -> str:
        return str(json.loads(self.folder.connection.read_text())["url"])

    def child(self, word: str) -> Seen:
        return next(person for person in family(self.process.pid, everyone()) if word in person.command)

    def everyone(self) -> list[Seen]:
        return touching(str(self.folder.root))

    def expect_nobody(self, seconds: float) -> None:
        until(lambda: not self.everyone(), within=seconds, what="no process is left", explain=self.explain)

    def explain(self) -> str:
        logs = "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in (self.folder.root / "logs").glob("*.log"))
        people = "\n".join(f"{person.pid} {person.parent} {person.command[:150]}" for person in self.everyone())
        return f"{self.output.read_text()[-3000:]}\n{logs}\n{people}"

    def clear(self) -> None:
        self.process.kill9()
        for person in self.everyone():
            if person.parent == 1 or person.command:
                _kill(person.pid)

    def _is_ready(self) -> bool:
        assert self.process.is_running, self.explain()
        return self.folder.is_ready(self.process.pid)


@pytest.fixture(scope="module")
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ty-up-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def up(short_folder: Path) -> Iterator[Up]:
    up = Up(short_folder / "shared")
    try:
        up.start()
        yield up
    finally:
        up.clear()


def test_every_part_is_a_process_of_its_own_under_one_parent(up: Up) -> None:
    children = [person for person in everyone() if person.parent == up.process.pid]
    assert len(children) == 3
    assert {word for word in ("redis-server", "-m api serve", "-m worker") for child in children if word in child.command} == {
        "redis-server",
        "-m api serve",
        "-m worker",
    }


def test_promise_24_the_keys_are_in_no_argument_and_not_in_what_it_prints(up: Up) -> None:
    secrets = [up.folder.admin_key.read_text().strip(), up.folder.worker_key.read_text().strip()]
    assert all(re.fullmatch(r"ty_[A-Za-z0-9]{8}_[A-Za-z0-9]{49}", secret) for secret in secrets)
    seen = up.output.read_text() + "".join(person.command for person in everyone())
    seen += "".join(log.read_text() for log in (up.folder.root / "logs").glob("*.log"))
    assert not [secret for secret in secrets if secret in seen]
    assert {path.stat().st_mode & 0o777 for path in up.folder.admin_key.parent.iterdir()} == {0o600}


def test_the_three_curl_lines_that_it_prints_train_a_model(up: Up, tmp_path: Path) -> None:
    submit, poll, archive = re.findall(r"^  (curl .*)$", up.output.read_text(), re.MULTILINE)
    job = json.loads(_shell(submit, tmp_path))
    ended = until(
        lambda: _if_terminal(_shell(poll.replace("JOB_ID", job["id"]), tmp_path)), within=100, what="the job ends", explain=up.explain
    )
    assert ended["state"] == "succeeded", ended
    _shell(archive.replace("JOB_ID", job["id"]), tmp_path)
    with tarfile.open(tmp_path / "model.tar") as tar:
        assert f"{job['id']}/model.pt2" in tar.getnames()


def test_the_command_line_finds_the_service_by_its_state_folder(up: Up) -> None:
    said = _trainyard("--home", str(up.folder.root), "doctor", "--json")
    verdicts = {finding["what"]: finding["verdict"] for finding in json.loads(said.stdout)["findings"]}
    assert said.returncode == 0, said.stdout
    assert {verdicts[what] for what in ("server", "readiness", "key", "workers", "clock")} == {"ok"}


def test_a_second_up_on_the_same_folder_says_so(up: Up) -> None:
    said = _trainyard("up", "--home", str(up.folder.root), "--port", "0")
    assert said.returncode == 1
    assert f"running already on {up.folder.root} (process {up.process.pid})" in said.stderr


def test_a_port_that_is_taken_is_said_before_anything_is_started(up: Up, short_folder: Path) -> None:
    port = up.url.rpartition(":")[2]
    said = _trainyard("up", "--home", str(short_folder / "other"), "--port", port)
    assert said.returncode == 1
    assert f"cannot serve on 127.0.0.1:{port}" in said.stderr
    assert touching(str(short_folder / "other")) == []


@pytest.mark.parametrize("part", ["-m api serve", "redis-server"])
def test_a_part_that_is_killed_is_started_again(up: Up, part: str) -> None:
    before = up.child(part).pid
    _kill(before)
    until(
        lambda: any(part in child.command and child.pid != before for child in family(up.process.pid, everyone())),
        within=20,
        what=f"{part} is back",
    )
    until(lambda: _is_ready(up.url), within=60, what="the API serves again", explain=up.explain)
    assert "was ended by SIGKILL; starts again" in up.output.read_text()


def test_promise_13_sigterm_gives_a_running_job_back_stops_everything_and_the_next_start_goes_on(short_folder: Path) -> None:
    up = Up(short_folder / "again")
    try:
        up.start()
        with Client(home=up.folder.root) as client:
            job = client.submit({"recipe": "scripted", "training": {"ending": "never", "step_seconds": 0.05}}).id
            until(lambda: _step(client, job) > 0, within=60, what="the job trains", explain=up.explain)
        up.process.send(signal.SIGTERM)
        assert up.process.wait(60) == 0, up.explain()
        assert up.everyone() == []
        assert re.findall(r"^(\w+) +stopped$", up.output.read_text(), re.MULTILINE) == ["node", "api", "redis"]
        up.start()
        with Client(home=up.folder.root) as client:
            until(lambda: client.job(job).num_attempts == 2 and _step(client, job) > 0, within=60, what="it goes on", explain=up.explain)
            first = list(client.attempts(job))[-1]
            assert (first.reason, first.forced) == (Reason.DRAINED, False)
            client.cancel(job)
            assert client.wait(job, timeout=60).state is JobState.CANCELLED
    finally:
        up.clear()


def test_kill_9_of_the_parent_leaves_nothing_behind_and_the_next_start_goes_on(short_folder: Path) -> None:
    up = Up(short_folder / "killed")
    try:
        up.start()
        key = up.folder.admin_key.read_text()
        up.process.kill9()
        up.process.start()  # at once, while the old parts are still leaving
        until(up._is_ready, within=READY_SECONDS, what="trainyard up is ready again", explain=up.explain)
        assert up.folder.admin_key.read_text() == key
        assert _is_ready(up.url)
        up.process.kill9()
        up.expect_nobody(seconds=40)
    finally:
        up.clear()


def _trainyard(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "trainyard", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def _shell(line: str, folder: Path) -> str:
    """A line as it would be typed."""
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=True, timeout=90)
    return done.stdout


def _if_terminal(text: str) -> dict[str, object] | None:
    job: dict[str, object] = json.loads(text)
    return job if job["is_terminal"] else None


def _step(client: Client, job: str) -> int:
    progress = client.job(job).progress
    return progress.step if progress else 0


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

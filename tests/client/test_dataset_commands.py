"""``trainyard dataset`` against the real API: push, look, download, prepare, delete."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.wire.keys import Scope
from tests.api.pushing import Pusher
from tests.api.serving import Served
from tests.api.shipping import sha256_of
from tests.api.test_process import ApiProcess
from tests.bed.processes import Process
from tests.bed.proxy import Proxy
from tests.bed.waiting import until
from tests.client.conftest import Terminal
from trainyard.client import Client
from trainyard.datasets import dataset_name, local_files
from trainyard.errors import BadInput

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "My birds (2)"
    for path, data in {"cat/1.png": b"one", "dog/2.png": b"two", ".git/config": b"hidden", "cat/.DS_Store": b"hidden"}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


@contextmanager
def validating(served: Served, **profile: object) -> Iterator[None]:
    """Whatever validation comes meanwhile ends as told."""

    def end() -> None:
        pusher = Pusher(served)
        until(lambda: pusher.http.get("/v1/jobs?state=queued").json()["data"], within=20, what="a validation is queued")
        pusher.validate(**profile)  # type: ignore[arg-type]

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)


def test_a_folder_is_pushed_validated_shown_downloaded_and_deleted(
    trainyard: Terminal, served: Served, folder: Path, tmp_path: Path
) -> None:
    labels = {"column": None, "num_labels": 2, "counts": {"train": {"cat": 1, "dog": 1}, "test": {"cat": 0, "dog": 2}}}
    with validating(served, splits={"train": 1, "test": 1}, labels=labels):
        pushed = trainyard.json("dataset", "push", str(folder), "--task", "image-classification")
    assert (pushed["dataset"], pushed["number"], pushed["state"], pushed["num_files"]) == ("My-birds--2", 1, "ready", 2)
    assert pushed["profile"]["valid"]
    assert trainyard.json("dataset", "push", str(folder))["id"] == pushed["id"], "nothing has changed"
    assert "My-birds--2" in trainyard("dataset", "list")
    assert trainyard.json("dataset", "list")[0]["latest"] == 1
    assert "ready" in trainyard("dataset", "show", "My-birds--2")
    shown = trainyard("dataset", "show", "My-birds--2@1")
    assert "2 files, 6 B" in shown
    assert "2 rows (train 1, test 1)\n" in shown
    assert "2 labels: dog 3, cat 1" in shown
    page = tmp_path / "page.html"
    assert str(page) in trainyard("dataset", "report", "My-birds--2", str(page))
    assert page.read_text() == "<p>fine</p>"
    out = tmp_path / "out"
    assert trainyard.json("dataset", "download", "My-birds--2", str(out))["version"] == 1
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")} == {
        "cat/1.png": b"one",
        "dog/2.png": b"two",
    }
    job = trainyard.json("submit", "--recipe", "image-classification", "-p", 'dataset="My-birds--2"')
    assert job["spec"]["dataset"] == {"name": "My-birds--2", "version": 1}
    assert job["id"] in trainyard.complaint("dataset", "delete", "My-birds--2", code=1)
    trainyard("cancel", job["id"])
    trainyard("dataset", "delete", "My-birds--2@1")
    trainyard("dataset", "delete", "My-birds--2")
    assert trainyard.json("dataset", "list") == []


def test_an_invalid_dataset_is_explained_and_ends_with_1(trainyard: Terminal, served: Served, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_bytes(b"a,b\n1\n")
    findings = [{"file": "rows.csv", "row": 2, "column": None, "message": "[red]1 cell, not 2"}]
    with validating(served, valid=False, findings=findings, num_findings=7, warnings=[{"code": "tiny_class", "message": "few rows"}]):
        said = trainyard("dataset", "push", str(rows), code=1)
    assert "rows@1  invalid" in said
    assert "rows.csv:2: [red]1 cell, not 2" in said
    assert "and 6 more" in said
    assert "few rows" in said
    assert "not_ready" not in said
    assert "invalid" in trainyard.complaint("submit", "--recipe", "tabular", "-p", 'dataset="rows@1"', code=2)


def test_a_job_may_be_submitted_right_after_the_push(trainyard: Terminal, served: Served, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_bytes(b"a,b\n1,2\n")
    pushed = trainyard.json("dataset", "push", str(rows), "--no-wait")
    asked = ("--recipe", "text-classification", "-p", 'dataset="rows"')
    waits = f"the dataset rows@1, which {pushed['job_id']} validates"
    assert trainyard.json("validate", *asked)["waiting_for"] == waits
    job = trainyard.json("submit", *asked)
    assert waits in " ".join(trainyard("status", job["id"]).split())
    Pusher(served).validate(valid=False)
    assert "report: /v1/datasets/rows/versions/1/report" in " ".join(trainyard("status", job["id"]).split())


def test_a_preparation_is_asked_for_by_a_file_of_steps(trainyard: Terminal, served: Served, folder: Path, tmp_path: Path) -> None:
    with validating(served):
        trainyard("dataset", "push", str(folder), "--name", "birds")
    steps = tmp_path / "steps.json"
    steps.write_text('[{"do": "drop_duplicates"}]')
    made = trainyard.json("dataset", "prepare", "birds@1", str(steps), "--as", "fewer", "--seed", "5", "--no-wait")
    assert (made["dataset"], made["state"], made["lineage"]["seed"]) == ("fewer", "uploading", 5)
    assert "birds@1" in trainyard("dataset", "show", "fewer")
    steps.write_text('[{"do": "fly"}]')
    assert "/steps/0" in trainyard.complaint("dataset", "prepare", "birds", str(steps), code=2)
    steps.write_text('{"do": "drop_duplicates"}')
    assert "list of steps" in trainyard.complaint("dataset", "prepare", "birds", str(steps), code=2)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("push", "/no/such/folder"), 2),
        (("push", "EMPTY"), 2),
        (("push", "HERE", "--name", "../up"), 2),
        (("push", "HERE", "--task", "swimming"), 2),
        (("show", "nothing"), 4),
        (("show", "nothing@x"), 2),
        (("download", "nothing"), 4),
        (("delete", "nothing"), 4),
        (("delete", "nothing@latest"), 2),
    ],
)
def test_failures_say_what_and_end_with_a_code(
    trainyard: Terminal, folder: Path, tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"HERE": str(folder), "EMPTY": str(tmp_path / "empty")}
    assert trainyard.complaint("dataset", *(places.get(item, item) for item in arguments), code=code).strip()


def test_names_are_made_from_paths(tmp_path: Path) -> None:
    names = {name: dataset_name(tmp_path / name) for name in ("birds.tar.gz", "Été 2", ".hidden", "x" * 90, "???")}
    assert names == {"birds.tar.gz": "birds", "Été 2": "t--2", ".hidden": "dataset", "x" * 90: "x" * 64, "???": "dataset"}


def test_a_link_that_leads_out_of_the_folder_is_not_sent(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"canary")
    (folder / "cat" / "3.png").symlink_to(tmp_path / "secret")
    with pytest.raises(BadInput, match="link"):
        local_files(folder)


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> ApiProcess:
    return ApiProcess(sqlite_url, tmp_path)


class Push:
    """``trainyard dataset push`` as a process, through a slow line."""

    def __init__(self, proxy: Proxy, key: str, path: Path, log: Path) -> None:
        self._log = log
        environment = {**os.environ, "TRAINYARD_URL": f"http://127.0.0.1:{proxy.port}", "TRAINYARD_API_KEY": key}
        command = [sys.executable, "-m", "trainyard", "dataset", "push", str(path), "--name", "big", "--no-wait", "--json"]
        with log.open("ab") as errors:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors)

    def answer(self) -> dict[str, object]:
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self._log.read_text()
        return dict(json.loads(said))

    def kill9(self) -> None:
        self.process.kill()
        self.process.communicate()


def staged(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "bytes" / "staging").iterdir())


def test_promise_19_a_push_goes_on_after_a_kill_of_either_side(api: ApiProcess, tmp_path: Path) -> None:
    key, data, file, log = api.key(), os.urandom(24 * MIB), tmp_path / "big.bin", tmp_path / "push.log"
    file.write_bytes(data)
    server: Process = api.serve()
    try:
        with Proxy(("127.0.0.1", api.port)) as proxy:
            with proxy.under(bytes_per_second=8e6):
                first = Push(proxy, key, file, log)
                until(lambda: staged(tmp_path) > 2 * MIB, within=30, what="bytes arrive")
                first.kill9()
                sent = until(lambda: staged(tmp_path), within=10, what="what arrived stays")
                second = Push(proxy, key, file, log)
                until(lambda: staged(tmp_path) > sent + 4 * MIB, within=30, what="it goes on")
                server.kill9()
            server = api.serve()
            pushed = second.answer()
        assert (pushed["state"], pushed["num_bytes"]) == ("validating", len(data))
        with Client(api.url, key) as client:
            client.download_dataset("big", tmp_path / "back", version=1)
        assert sha256_of((tmp_path / "back" / "big.bin").read_bytes()) == sha256_of(data)
    finally:
        server.stop()


def test_what_is_read_and_sent_is_told(served: Served, folder: Path) -> None:
    told: list[tuple[str, str, int]] = []
    with Client(served.url, served.key(Scope.SUBMIT)) as client:
        version = client.push_dataset(folder, "birds", on_bytes=lambda what, file, num_bytes: told.append((what, file.name, num_bytes)))
        assert version.number == 1
    assert ("reading", "cat/1.png", 3) in told
    assert ("sending", "dog/2.png", 3) in told

"""The command line against the real API: what it prints, what ``--json`` gives, and what it ends with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.wire.keys import Scope
from tests.api.serving import Served
from tests.api.shipping import Shipper
from tests.client.conftest import Terminal
from trainyard.client import Client

SCRIPTED = ("submit", "--recipe", "scripted")


def test_every_command_explains_itself(trainyard: Terminal) -> None:
    names = [
        "up",
        "submit",
        "validate",
        "jobs",
        "status",
        "attempts",
        "checkpoints",
        "cancel",
        "pause",
        "resume",
        "logs",
        "events",
        "metrics",
    ]
    names += ["logs", "events", "metrics", "artifacts", "download", "dataset", "recipes", "worker", "keys", "doctor", "version"]
    everything = trainyard("--help")
    for name in names:
        assert f"\n  {name} " in everything
        assert "--json" in trainyard(name, "--help") or name in ("up", "dataset", "worker", "keys")


def test_a_job_is_submitted_from_a_file_from_stdin_and_from_settings(trainyard: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text('{"recipe": "scripted", "name": "from a file"}')
    by_file = trainyard.json("submit", str(file), "-p", "training.steps=7", "-p", 'labels={"team": "a"}')
    assert (by_file["name"], by_file["spec"]["training"]["steps"], by_file["labels"]) == ("from a file", 7, {"team": "a"})
    by_stdin = json.loads(trainyard("submit", "-", "--json", stdin='{"recipe": "scripted"}'))
    by_settings = trainyard.json(*SCRIPTED, "-p", "name=plain words", "-p", "seed=3")
    assert (by_settings["name"], by_settings["spec"]["seed"]) == ("plain words", 3)
    assert [job["id"] for job in trainyard.json("jobs")] == [by_settings["id"], by_stdin["id"], by_file["id"]]
    assert [job["id"] for job in trainyard.json("jobs", "--label", "team=a")] == [by_file["id"]]
    assert trainyard.json("status")["id"] == by_settings["id"]


def test_promise_15_the_same_idempotency_key_stores_one_job(trainyard: Terminal) -> None:
    first = trainyard.json(*SCRIPTED, "--idempotency-key", "once")
    assert trainyard.json(*SCRIPTED, "--idempotency-key", "once")["id"] == first["id"]
    assert len(trainyard.json("jobs")) == 1


def test_every_finding_about_a_spec_is_told_with_its_place(trainyard: Terminal) -> None:
    wrong = (*SCRIPTED, "-p", "training.steps=many", "-p", "colour=red")
    told = trainyard.complaint(*wrong, code=2)
    assert "/training/steps: " in told
    assert "/colour: " in told
    error = json.loads(trainyard.complaint(*wrong, "--json", code=2))["error"]
    assert {finding["pointer"] for finding in error["errors"]} == {"/training/steps", "/colour"}
    assert error["exit_code"] == 2
    assert trainyard.json("jobs") == []


def test_a_dry_run_prints_the_effective_spec_and_stores_nothing(trainyard: Terminal) -> None:
    spec = json.loads(trainyard("validate", "--recipe", "image-classification", "-p", "dataset.builtin=digits"))
    assert spec["training"]["optimizer"] == "sgd"
    assert "worker" in trainyard.json("validate", "--recipe", "scripted")["waiting_for"]
    assert trainyard.json("jobs") == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("status", "job_00000000000000000000000000"), 4),
        (("status",), 4),
        (("download", "job_00000000000000000000000000"), 4),
        (("keys", "revoke", "key_00000000000000000000000000"), 4),
        (("worker", "drain", "nobody"), 4),
        (("recipes", "nothing"), 4),
        (("submit",), 2),
        (("submit", "no-such-file.json"), 2),
        (("submit", "--recipe", "scripted", "-p", "nonsense"), 2),
        (("jobs", "--limit", "0"), 2),
        (("nonsense",), 2),
        (("logs", "job_00000000000000000000000000"), 4),
        (("logs", "job_00000000000000000000000000", "-f"), 4),
    ],
)
def test_failures_have_exit_codes_of_their_own(trainyard: Terminal, arguments: tuple[str, ...], code: int) -> None:
    assert trainyard.complaint(*arguments, code=code).strip()


def test_no_server_and_a_wrong_key_both_end_with_3(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "ty_aaaaaaaa_" + "b" * 49
    assert "TRAINYARD_API_KEY" in Terminal(served.url, wrong).complaint("jobs", code=3)
    monkeypatch.setattr("trainyard.retrying.RetryPolicy.delay", lambda *_: None)
    assert "trainyard doctor" in Terminal("http://127.0.0.1:1", wrong).complaint("jobs", code=3)
    assert "trainyard up" in Terminal("", "").complaint("jobs", code=3)


def test_a_whole_run_is_shown_downloaded_and_ends_with_0(trainyard: Terminal, served: Served, tmp_path: Path) -> None:
    shipper = Shipper(served, name="a run")
    shipper.post("start", launched="warm")
    shipper.put_log(0, b"hello\nwor")
    shipper.put_log(0, b"careful\n", rank=1, stream="stderr")
    points = {"steps": [1, 2, 3], "values": [3.0, 1.0, 2.0], "times": [1.0, 2.0, 3.0]}
    progress = {"phase": "training", "step": 3, "total_steps": 6, "epoch": 0, "at": 3.0}
    shipper.post("metrics", seq=1, series={"loss": points}, progress=progress)
    running = trainyard("status")
    assert "training  step 3/6  epoch 1  loss 2" in running
    shipper.hand_over("checkpoints", files={"state": b"state"}, step=3, is_best=True)
    assert trainyard.json("checkpoints")[0]["step"] == 3
    assert "best" in trainyard("checkpoints")
    shipper.hand_over(files={"model.pt2": b"weights", "reports/card.md": b"# card"})
    shipper.finish()

    assert trainyard("status", "--watch", shipper.job_id).count("succeeded") >= 1
    assert trainyard("logs") == "[0] hello\n[0] wor\n[1] careful\n"
    assert sorted(trainyard("logs", "-f").splitlines()) == ["[0] hello", "[0] wor", "[1] careful"]
    assert trainyard("logs", "--rank", "1") == "[1] careful\n"
    assert [json.loads(line)["text"] for line in trainyard("logs", "--rank", "0", "--json").splitlines()] == ["hello\nwor"]
    table = trainyard("metrics")
    assert "loss" in table
    assert "█" in table
    assert trainyard.json("metrics", "--name", "loss")["series"][0]["maximum"] == 3.0
    events = trainyard.json("events")
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [json.loads(line) for line in trainyard("events", "-f", "--json").splitlines()] == events
    assert trainyard.json("attempts")[0]["launched"] == "warm"
    folder = tmp_path / "out"
    assert trainyard.json("download", "last", str(folder))["files"] == [str(folder / "model.pt2"), str(folder / "reports" / "card.md")]
    assert (folder / "reports" / "card.md").read_bytes() == b"# card"


@pytest.mark.parametrize(("reason", "code", "word"), [("user_error", 1, "failed"), ("cancelled", 5, "cancelled")])
def test_watching_a_job_ends_as_the_job_does(trainyard: Terminal, served: Served, reason: str, code: int, word: str) -> None:
    shipper = Shipper(served)
    if reason == "cancelled":
        trainyard("cancel", shipper.job_id)
    shipper.post("finish", reason=reason, message="it broke", rank=1, stack="Traceback: boom")
    said = trainyard("status", shipper.job_id, "--watch", code=code)
    assert word in said
    assert ("it broke" in said and "boom" in said) == (reason == "user_error")
    assert trainyard.json("status", shipper.job_id, "--watch", code=code)["state"] == word


def test_a_job_is_paused_resumed_and_cancelled(trainyard: Terminal) -> None:
    job = trainyard.json(*SCRIPTED)["id"]
    assert trainyard.json("pause", job)["state"] == "paused"
    assert trainyard.json("resume", job)["state"] == "queued"
    assert trainyard.json("cancel", job)["state"] == "cancelled"
    assert "cancelled" in trainyard.complaint("pause", job, code=1)
    assert trainyard.json("cancel", job)["state"] == "cancelled"


def test_keys_are_made_shown_once_used_and_revoked(trainyard: Terminal, served: Served) -> None:
    secret = trainyard("keys", "create", "ci", "--scope", "submit", "--scope", "read", "--days", "1").strip()
    theirs = Terminal(served.url, secret)
    theirs(*SCRIPTED)
    assert "scope" in theirs.complaint("keys", "list", code=3)
    listed = {key["name"]: key for key in trainyard.json("keys", "list")}
    assert secret not in json.dumps(listed)
    trainyard("keys", "revoke", listed["ci"]["id"])
    assert "key" in theirs.complaint("jobs", code=3)


def test_workers_are_listed_drained_and_put_back(trainyard: Terminal, served: Served) -> None:
    assert trainyard.json("worker", "list") == []
    served.node().register("node-7")
    assert "node-7" in trainyard("worker", "list")
    assert trainyard.json("worker", "drain", "node-7")["state"] in ("draining", "drained")
    assert trainyard.json("worker", "undrain", "node-7")["state"] == "online"


def test_what_servers_and_jobs_say_is_text_and_never_markup(trainyard: Terminal) -> None:
    trainyard(*SCRIPTED, "-p", "name=[red]{x}[/red] :smile:")
    assert "[red]{x}[/red] :smile:" in trainyard("jobs")
    assert "[red]{x}[/red] :smile:" in trainyard("status")


def test_doctor_finds_a_running_server_and_says_when_there_is_none(trainyard: Terminal) -> None:
    verdicts = {finding["what"]: finding["verdict"] for finding in trainyard.json("doctor")["findings"]}
    assert verdicts["server"] == verdicts["key"] == verdicts["readiness"] == "ok"
    assert verdicts["workers"] == "warning"
    dead = Terminal("http://127.0.0.1:1", "ty_x")
    said = dead.run("doctor", "--json")
    assert said.exit_code == 1
    assert {"what": "server", "verdict": "problem"}.items() <= json.loads(said.stdout)["findings"][-1].items()


def test_an_interrupt_ends_with_130(trainyard: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "jobs", interrupted)
    trainyard("jobs", code=130)


def test_worker_becomes_the_node_with_the_environment_of_the_shell() -> None:
    """Without a token the node itself says what it needs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}
    argv = [sys.executable, "-m", "trainyard", "worker"]
    said = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "TRAINYARD_WORKER_TOKEN" in said.stderr
    wrong = subprocess.run([*argv, "--on-term", "sideways"], env=environment, capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_a_reader_that_leaves_early_is_no_failure(served: Served) -> None:
    key = served.key(Scope.ADMIN)
    environment = {**os.environ, "TRAINYARD_URL": served.url, "TRAINYARD_API_KEY": key}
    line = f"set -o pipefail; {sys.executable} -m trainyard recipes --json | head -1"
    said = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "[\n", "")

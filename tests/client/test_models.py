"""Models from the client and the command line, against the real API."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from core.wire.keys import Scope
from tests.api.serving import Served
from tests.api.shipping import Shipper
from tests.client.conftest import Terminal
from trainyard import Client
from trainyard.errors import BadInput, Conflict, InvalidRequest

WEIGHTS = save({"weight": np.zeros((3, 4), np.float32)})


def trained(served: Served, accuracy: float, **spec: Any) -> str:
    shipper = Shipper(served, **spec)
    shipper.hand_over(files={"model.safetensors": WEIGHTS, "reports/card.md": b"# card"})
    assert shipper.post("finish", reason="completed", metrics={"test_accuracy": accuracy}).status_code == 200
    return shipper.job_id


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "tokenizer" / "vocab.json").write_text("{}")
    (folder / ".hidden").write_text("no")
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def reaching(served: Served) -> Any:
    with Client(served.url, served.key(Scope.ADMIN)) as client:
        yield client


def test_a_model_lives_on_the_command_line(trainyard: Terminal, served: Served, tmp_path: Path) -> None:
    assert trainyard.json("model", "list") == []
    first = trained(served, 0.9)
    assert trainyard.json("model", "register", "digits", "last", "--description", "small")["job_id"] == first
    second = trained(served, 0.8, seed=1)
    assert "digits@2" in trainyard("model", "register", "digits", second)
    assert "points to version 1" in trainyard("model", "promote", "digits@1", "production")
    refusal = trainyard.complaint("model", "promote", "digits@2", "production", "--unless-worse", "accuracy", code=1)
    assert "0.8 in version 2" in refusal
    assert "0.9 in version 1" in refusal
    moved = trainyard.json("model", "promote", "digits", "production", "--unless-worse", "accuracy", "--tolerance", "0.2")
    assert (moved["outcome"], moved["previous_version"], moved["version"]) == ("promoted", 1, 2)

    listed = trainyard("model", "list")
    assert "production=2" in listed
    shown = trainyard("model", "show", "digits")
    assert "production points to version 2, from version 1" in shown
    assert [item["version"] for item in trainyard.json("model", "show", "digits")["versions"]] == [2, 1]
    assert "reports/card.md" in trainyard("model", "show", "digits@production")
    assert trainyard.json("model", "show", "digits@1")["metrics"]["test_accuracy"] == 0.9

    compared = trainyard("model", "compare", "digits", "1", "production")
    assert "test_accuracy" in compared
    assert "/seed" in compared
    assert trainyard.json("model", "compare", "digits", "1")["metrics"]["test_accuracy"]["better"] == "a"

    folder = tmp_path / "out"
    files = trainyard.json("model", "download", "digits@production", str(folder))
    assert (files["version"], files["files"]) == (2, [str(folder / "model.safetensors"), str(folder / "reports" / "card.md")])
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS

    assert "production" in trainyard.complaint("model", "delete", "digits@2", code=1)
    assert trainyard.json("model", "unalias", "digits", "production") == {"removed": "production"}
    assert "deleted" in trainyard("model", "delete", "digits@2")
    assert [item["version"] for item in trainyard.json("model", "show", "digits")["versions"]] == [1]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "nothing"), 4),
        (("show", "nothing@3"), 4),
        (("register", "digits", "job_00000000000000000000000000"), 2),
        (("promote", "nothing@1", "production"), 4),
        (("promote", "digits@1", "production", "--tolerance", "1"), 2),
        (("promote", "digits@1", "production", "--unless-worse", "a", "--dataset", "x y"), 2),
        (("delete", "digits"), 2),
        (("delete", "digits@production"), 2),
        (("download", "digits@"), 2),
        (("compare", "nothing", "1", "2"), 4),
        (("push", "/nowhere", "digits"), 2),
    ],
)
def test_failures_of_model_commands_have_codes_of_their_own(trainyard: Terminal, arguments: tuple[str, ...], code: int) -> None:
    assert trainyard.complaint("model", *arguments, code=code).strip()


def test_a_folder_is_pushed_and_comes_back(trainyard: Terminal, own: Path, tmp_path: Path) -> None:
    pushed = trainyard.json("model", "push", str(own), "own")
    assert (pushed["version"], pushed["num_files"], pushed["job_id"]) == (1, 2, None)
    assert trainyard.json("model", "push", str(own), "own")["version"] == 1
    trainyard("model", "download", "own", str(tmp_path / "back"))
    assert (tmp_path / "back" / "tokenizer" / "vocab.json").read_text() == "{}"
    (own / "extra.pt").write_bytes(b"pickle")
    assert "/files/0/path" in trainyard.complaint("model", "push", str(own), "own", code=2)


def test_the_client_refuses_folders_that_it_must_not_send(reaching: Client, own: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder"):
        reaching.push_model(own / "model.safetensors", "own")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no file"):
        reaching.push_model(tmp_path / "empty", "own")
    (tmp_path / "secret").write_text("secret")
    (own / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BadInput, match="leads out"):
        reaching.push_model(own, "own")


def test_the_client_tells_of_progress_and_raises_what_the_server_says(reaching: Client, own: Path) -> None:
    heard: list[tuple[str, str, int]] = []
    version = reaching.push_model(own, "own", on_bytes=lambda what, path, num_bytes: heard.append((what, path.name, num_bytes)))
    assert ("sending", "model.safetensors", len(WEIGHTS)) in heard
    assert version == reaching.model_version("own", 1)
    assert [event.type for event in reaching.model_events("own")] == ["model.created", "version.registered"]
    reaching.promote("own", 1, "production")
    assert [event.version for event in reaching.model_events("own", alias="production")] == [1]
    with pytest.raises(Conflict):
        reaching.delete_model_version("own", 1)
    with pytest.raises(InvalidRequest, match="version"):
        reaching.promote("own", 7, "production")


def test_a_promotion_by_jobs_is_waited_for(trainyard: Terminal, served: Served, reaching: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    # The drill's recipe scores nothing: what it would answer is told here by the calls of a worker.
    monkeypatch.setattr("core.models.promote.EVALUATION", "scripted")
    trained(served, 0.9, register_as="digits"), trained(served, 0.8, seed=1, register_as="digits")
    reaching.promote("digits", 1, "production")
    check = ("--unless-worse", "accuracy", "--dataset", json.dumps({"builtin": "digits"}))
    pending = trainyard.json("model", "promote", "digits@2", "production", *check, "--no-wait")
    assert pending["outcome"] == "pending"
    node = served.node()
    worker = node.register("scorer")
    for _ in range(2):
        claim = node.claim(worker)
        assert claim is not None
        node.say(claim, "finish", reason="completed", metrics={"accuracy": 0.5})
    promotion = reaching.wait_for_promotion(reaching.promotion("digits", pending["id"]), timeout=30)
    assert (promotion.outcome, reaching.model("digits").aliases) == ("promoted", {"production": 2})

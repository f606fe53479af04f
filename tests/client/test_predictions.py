"""Predicting from the client and the command line, with a node that answers what it was sent."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.wire.keys import Scope
from tests.api.predicting import WEIGHTS, push
from tests.api.serving import Served
from tests.client.conftest import Terminal
from trainyard import Client
from trainyard.errors import BadInput, InvalidRequest, NotFound

PNG = b"\x89PNG\r\n\x1a\n\x00"
PNG_ROW = {"base64": b64encode(PNG).decode()}


@pytest.fixture
def echo(served: Served) -> Iterator[None]:
    """A node that says of each row what it is, and of the word "bad" that it is bad."""
    push(served.client(Scope.SUBMIT), WEIGHTS)
    node, stranger, stopped = served.node(), served.stranger(), threading.Event()

    def answered(row: Any) -> dict[str, Any]:
        return {"error": "it is bad"} if row == "bad" else {"prediction": {"row": row, "score": 0.123456789}}

    def answer() -> None:
        while not stopped.is_set():
            claim = node.post("/v1/worker/predictions/claim", json={"node": "node-1", "wait_seconds": 0.5})
            if claim.status_code != 200:
                continue
            batch = claim.json()
            answers = [{"request_id": task["id"], "rows": list(map(answered, task["rows"])), "batch_size": 1} for task in batch["tasks"]]
            headers = {"Authorization": f"Bearer {batch['lease_token']}"}
            said = stranger.post(f"/v1/worker/predictions/{batch['batch_id']}/answers", json={"answers": answers}, headers=headers)
            assert said.status_code == 204, said.text

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    stopped.set()
    thread.join(20)


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, served.key(Scope.SUBMIT)) as client:
        yield client


@pytest.mark.usefixtures("echo")
def test_rows_and_files_are_predicted(client: Client, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(PNG)
    rows: list[Any] = [{"a": 1}, "text", tmp_path / "x.png", PNG]
    answer = client.predict("digits", rows)
    assert (answer.model, answer.version) == ("digits", 1)
    assert [item["row"] for item in answer.predictions] == [{"a": 1}, "text", PNG_ROW, PNG_ROW]
    for one in (tmp_path / "x.png", PNG, [PNG]):
        assert [item["row"] for item in client.predict("digits", one, version=1).predictions] == [PNG_ROW]


@pytest.mark.usefixtures("echo")
def test_what_is_wrong_is_told_with_its_place(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.predict("digits", ["good", "bad"])
    assert [(item.pointer, item.message) for item in caught.value.errors] == [("/rows/1", "it is bad")]
    with pytest.raises(NotFound, match="production"):
        client.predict("digits", ["good"], version="production")
    (tmp_path / "large").write_bytes(bytes((8 << 20) + 1))
    for rows in (tmp_path / "absent.png", tmp_path / "large", [], ["x"] * 65):
        with pytest.raises(BadInput):
            client.predict("digits", rows)


@pytest.mark.usefixtures("echo")
def test_the_command_prints_a_table_or_json(trainyard: Terminal, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(PNG)
    answer = trainyard.json("model", "predict", "digits", '{"a": 1}', "a lovely film", "--file", str(tmp_path / "x.png"))
    assert [item["row"] for item in answer["predictions"]] == [{"a": 1}, "a lovely film", PNG_ROW]
    assert "0.123457" in trainyard("model", "predict", "digits@1", "7")
    assert trainyard.json("model", "predict", "digits", "x", "--version", "1")["version"] == 1
    assert "/rows/0" in trainyard.complaint("model", "predict", "digits", "bad", code=2)
    assert "production" in trainyard.complaint("model", "predict", "digits@production", "x", code=4)
    for wrong in (("digits",), ("digits@1", "x", "--version", "1"), ("digits", "{a}"), ("digits", "--file", str(tmp_path / "no.png"))):
        assert trainyard.complaint("model", "predict", *wrong, code=2)


def test_nobody_answers(trainyard: Terminal, served: Served) -> None:
    push(served.client(Scope.SUBMIT), WEIGHTS)
    said = trainyard.run("model", "predict", "digits", "x", "--timeout", "0.2", "--json")
    assert said.exit_code == 1
    assert "no node is online" in json.dumps(said.output)

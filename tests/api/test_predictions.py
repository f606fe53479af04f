"""Predictions over HTTP, on both databases: a caller waits, a node claims what waits together, answers, and nobody else's are seen."""

import json
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np
import pytest
from safetensors.numpy import save
from sqlalchemy import select

from core.db.prediction_tables import prediction_batches, prediction_requests
from core.predictions.ask import MAX_WAITING
from core.predictions.prune import prune_predictions
from core.wire.keys import Scope
from core.wire.predictions import LEASE_SECONDS
from tests.api.predicting import WEIGHTS, Predicting, echo, found, push
from tests.api.serving import Json, Served
from tests.api.shipping import sha256_of
from tests.bed.waiting import until

PNG = b"\x89PNG\r\n\x1a\n\r\n--not a boundary\r\n\x00\xff"


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def predicting(served_on_each: Served, callers: ThreadPoolExecutor) -> Predicting:
    return Predicting(served_on_each, callers)


@pytest.fixture
def quick(served: Served, callers: ThreadPoolExecutor) -> Predicting:
    """On SQLite alone, for what has nothing to do with the ledger."""
    return Predicting(served, callers)


def test_requests_that_wait_together_are_claimed_and_answered_together(predicting: Predicting) -> None:
    push(predicting.client, save({"weight": np.zeros(3, dtype=np.float32)}))
    asked = [predicting.ask(json={"rows": [number, {"x": number}]}, params={"version": "1"}) for number in range(3)]
    other = predicting.ask(json={"rows": ["newest"]})
    until(lambda: predicting.waiting() == 4, within=10, what="all wait")

    batches = [predicting.claim(), predicting.claim()]
    assert predicting.claim(wait=0) is None
    by_version = {batch["version"]: batch for batch in batches if batch}
    assert sorted(len(by_version[number]["tasks"]) for number in (1, 2)) == [1, 3]
    for batch in by_version.values():
        assert batch["model"] == "digits"
        assert [file["path"] for file in batch["files"]] == ["model.safetensors"]
        assert 0 < batch["seconds_left"] <= 30
        predicting.answer(batch, *(echo(task, batch_size=7, load_seconds=0.5, predict_seconds=0.25) for task in batch["tasks"]))

    for number, future in enumerate(asked):
        answer = future.result()
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["object"], body["model"], body["version"]) == ("prediction", "digits", 1)
        assert body["predictions"] == [{"said": number}, {"said": {"x": number}}]
        timing = body["timing"]
        assert (timing["batch_size"], timing["load_seconds"], timing["predict_seconds"]) == (7, 0.5, 0.25)
        assert timing["total_seconds"] > 0
    assert other.result().json()["version"] == 2
    assert predicting.waiting() == 0


def test_a_node_that_waits_hears_of_a_request_and_a_caller_of_its_answer(predicting: Predicting, callers: ThreadPoolExecutor) -> None:
    claimed = callers.submit(predicting.claim, 20)
    asked = predicting.ask(json={"rows": ["hello"]})
    batch = claimed.result()
    assert batch is not None
    predicting.answer(batch, echo(batch["tasks"][0]))
    assert asked.result().json()["predictions"] == [{"said": "hello"}]


def test_bad_rows_and_failures_of_the_model_are_told_apart(predicting: Predicting) -> None:
    told: list[tuple[Json, int, str]] = [
        ({"rows": [{"prediction": {}}, {"error": "it is no image"}]}, 422, "/rows/1: it is no image"),
        ({"failure": {"kind": "refused", "message": "no predictor for recipe 'scripted'"}}, 422, "no predictor"),
        ({"failure": {"kind": "unavailable", "message": "the predictor was killed"}}, 503, "was killed"),
    ]
    for answer, status, detail in told:
        asked = predicting.ask(json={"rows": [1, 2]})
        batch = predicting.claim()
        assert batch is not None
        predicting.answer(batch, {"request_id": batch["tasks"][0]["id"], **answer})
        problem = asked.result()
        assert problem.status_code == status, problem.text
        assert detail in problem.json()["detail"]
    assert predicting.waiting() == 0


def test_a_batch_passes_on_when_its_node_is_silent_and_the_late_answer_counts_for_nothing(predicting: Predicting) -> None:
    asked = predicting.ask(json={"rows": ["x"]}, params={"timeout_seconds": 60})
    first = predicting.claim()
    assert first is not None
    assert first["lease_seconds"] == LEASE_SECONDS
    assert predicting.say(first, "renew").status_code == 204
    with predicting.served.state.db.begin() as tx:
        for table in (prediction_batches, prediction_requests):
            tx.execute(table.update().values(taken_until=0.0))
    second = predicting.claim()
    assert second is not None
    assert second["tasks"] == first["tasks"]
    for verb, options in (("renew", {}), ("answers", {"json": {"answers": [echo(first["tasks"][0])]}})):
        refused = predicting.say(first, verb, **options)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "lease_lost")
    predicting.answer(second, {"request_id": second["tasks"][0]["id"], "rows": [{"prediction": {"by": "second"}}]})
    assert asked.result().json()["predictions"] == [{"by": "second"}]


def test_of_claims_at_once_each_request_is_in_one(predicting: Predicting, callers: ThreadPoolExecutor) -> None:
    asked = predicting.ask(json={"rows": [1]}, params={"timeout_seconds": 60})
    until(lambda: predicting.waiting() == 1, within=10)
    with predicting.served.state.db.begin() as tx:
        row = dict(tx.execute(select(prediction_requests)).one()._mapping)
        copies = [{**row, "id": f"{row['id'][:-4]}{number:04}", "num_rows": 40} for number in range(60)]
        tx.execute(prediction_requests.insert(), copies)

    def claim_all() -> list[Json]:
        return list(iter(lambda: predicting.claim(wait=0), None))

    batches = [batch for future in [callers.submit(claim_all) for _ in range(6)] for batch in future.result()]
    taken = [task["id"] for batch in batches for task in batch["tasks"]]
    assert len(taken) == len(set(taken))
    rest = claim_all()  # a claim at the same moment may have found all rows locked
    assert len(taken) + sum(len(batch["tasks"]) for batch in rest) == 61
    for batch in batches + rest:
        predicting.answer(batch, *map(echo, batch["tasks"]))
    assert asked.result().status_code == 200


def test_nobody_answers_in_time(predicting: Predicting) -> None:
    def why(**params: float) -> str:
        answer = predicting.ask(json={"rows": ["x"]}, params={"timeout_seconds": 0.3, **params}).result()
        assert answer.status_code == 503, answer.text
        assert predicting.waiting() == 0
        return str(answer.json()["detail"])

    assert "no node is online" in why()
    worker = predicting.node.register("node-1")
    assert "TRAINYARD_PREDICTORS" in why()
    asked = predicting.ask(json={"rows": ["x"]}, params={"timeout_seconds": 2})
    assert predicting.claim() is not None
    assert "node-1 has it" in asked.result().json()["detail"]
    assert predicting.served.client().post(f"/v1/workers/{worker}/drain").status_code == 200
    asked = predicting.ask(json={"rows": ["x"]}, params={"timeout_seconds": 1})
    until(lambda: predicting.waiting() == 1, within=10)
    assert predicting.claim(wait=0) is None
    assert asked.result().status_code == 503


def test_a_loaded_version_goes_first_while_others_are_young(predicting: Predicting) -> None:
    push(predicting.client, WEIGHTS, "loaded")
    futures = [predicting.ask(json={"rows": [0]})]
    until(lambda: predicting.waiting() == 1, within=10)
    warm = predicting.ask(path="loaded", json={"rows": [1]})
    until(lambda: predicting.waiting() == 2, within=10)
    with predicting.served.state.db.begin() as tx:  # the clock of the database decides what is young
        tx.execute(prediction_requests.update().values(created_at=predicting.served.state.clock.now()))
        loaded = tx.scalar(select(prediction_requests.c.version_id).order_by(prediction_requests.c.id.desc()).limit(1))
    batch = predicting.claim(loaded=[loaded])
    assert batch is not None
    assert batch["model"] == "loaded"
    for claimed in (batch, predicting.claim(loaded=[loaded])):
        assert claimed is not None
        predicting.answer(claimed, *map(echo, claimed["tasks"]))
    assert [future.result().status_code for future in (*futures, warm)] == [200, 200]


def test_another_project_sees_neither_models_nor_requests(predicting: Predicting) -> None:
    stranger = predicting.served.client(Scope.SUBMIT, project="other")
    for client, path in ((stranger, "digits"), (predicting.client, "unknown")):
        answer = predicting.ask(client=client, path=path, json={"rows": [1]}).result()
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"there is no model '{path}'"
    absent = predicting.ask(json={"rows": [1]}, params={"version": "production"}).result()
    assert absent.status_code == 404
    assert "has no version 'production'" in absent.json()["detail"]
    reader = predicting.served.client(Scope.READ)
    assert predicting.ask(client=reader, json={"rows": [1]}).result().status_code == 403
    assert predicting.client.post("/v1/worker/predictions/claim", json={"node": "x"}).status_code == 403


def test_a_batch_reads_the_files_of_its_version_alone(predicting: Predicting) -> None:
    secret = save({"weight": np.ones(5, dtype=np.float32)})
    push(predicting.client, secret, "another")
    asked = predicting.ask(json={"rows": [1]})
    batch = predicting.claim()
    assert batch is not None

    def get(sha256: str, token: str = batch["lease_token"], **headers: str) -> httpx2.Response:
        url = f"/v1/worker/predictions/{batch['batch_id']}/blobs/{sha256}"
        return predicting.served.stranger().get(url, headers={"Authorization": f"Bearer {token}", **headers})

    assert get(batch["files"][0]["sha256"]).content == WEIGHTS
    assert get(batch["files"][0]["sha256"], Range="bytes=5-").content == WEIGHTS[5:]
    assert get(sha256_of(secret)).status_code == 404
    assert get(batch["files"][0]["sha256"], "lease_wrong").status_code == 409
    predicting.answer(batch, echo(batch["tasks"][0]))
    assert get(batch["files"][0]["sha256"]).status_code == 409
    assert asked.result().status_code == 200


@pytest.mark.parametrize(
    ("body", "num_rows"),
    [
        ({"content": PNG, "headers": {"Content-Type": "image/png"}}, 1),
        ({"content": PNG, "headers": {"Content-Type": "application/octet-stream"}}, 1),
        ({"files": [("file", ("a.png", PNG, "image/png")), ("file", ("b.png", PNG, "image/png"))]}, 2),
        ({"json": {"rows": [{"base64": b64encode(PNG).decode()}]}}, 1),
    ],
)
def test_files_come_as_a_body_a_form_or_base64(quick: Predicting, body: Json, num_rows: int) -> None:
    asked = quick.ask(**body)
    batch = quick.claim()
    assert batch is not None
    assert batch["tasks"][0]["rows"] == [{"base64": b64encode(PNG).decode()}] * num_rows
    quick.answer(batch, {"request_id": batch["tasks"][0]["id"], "rows": [{"prediction": {}}] * num_rows})
    assert asked.result().json()["predictions"] == [{}] * num_rows


def test_what_cannot_be_read_is_refused_with_its_place_and_stored_nowhere(quick: Predicting) -> None:
    assert found(quick.ask(json={"rows": []}).result()) == ["/rows"]
    assert found(quick.ask(json={"rows": [1] * 65}).result()) == ["/rows"]
    assert found(quick.ask(json={"row": [1]}).result()) == ["/rows", "/row"]
    bad = [{"base64": "a"}, {"base64": "eA=="}, {"base64": 5}, {"base64": ""}, {"base64": "eA==\n"}]
    assert found(quick.ask(json={"rows": bad}).result()) == [f"/rows/{number}/base64" for number in (0, 2, 3, 4)]
    refused: list[tuple[Json, int, str]] = [
        ({"content": b"", "headers": {"Content-Type": "image/png"}}, 422, "empty"),
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415, "image/"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 422, "form"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 422, "form"),
        ({"files": [("f", (f"{number}", b"x")) for number in range(65)]}, 422, "form"),
        ({"data": {"a": "b"}, "files": [("f", ("x", b"x"))]}, 422, "form"),
        ({"content": bytes((8 << 20) + 1), "headers": {"Content-Type": "image/png"}}, 413, "8388608"),
    ]
    for body, status, word in refused:
        answer = quick.ask(**body).result()
        assert (answer.status_code, word in answer.json()["detail"]) == (status, True), answer.text
    for params in ({"timeout_seconds": 0}, {"timeout_seconds": 121}, {"version": "../1"}, {"name": "x"}):
        assert quick.ask(json={"rows": [1]}, params=params).result().status_code == 422
    assert quick.waiting() == 0


def test_a_project_may_have_so_many_waiting_and_no_more(quick: Predicting) -> None:
    asked = quick.ask(json={"rows": [1]}, params={"timeout_seconds": 20})
    until(lambda: quick.waiting() == 1, within=10)
    with quick.served.state.db.begin() as tx:
        row = dict(tx.execute(select(prediction_requests)).one()._mapping)
        copies = [{**row, "id": f"{row['id'][:-3]}{number:03}"} for number in range(MAX_WAITING - 1)]
        tx.execute(prediction_requests.insert(), copies)
    assert quick.ask(json={"rows": [1]}).result().status_code == 429
    sizes = []
    while batch := quick.claim(wait=0):
        sizes.append(len(batch["tasks"]))
        quick.answer(batch, *map(echo, batch["tasks"]))
    assert sizes == [64, 64]
    assert asked.result().status_code == 200


def test_requests_whose_callers_died_are_pruned(quick: Predicting) -> None:
    asked = quick.ask(json={"rows": [1]}, params={"timeout_seconds": 2})
    batch = quick.claim()
    assert batch is not None
    with quick.served.state.db.begin() as tx:
        tx.execute(prediction_requests.update().values(expires_at=prediction_requests.c.expires_at - 1000))
        tx.execute(prediction_batches.update().values(taken_until=0.0))
    maintain(quick)
    assert quick.waiting() == 0
    with quick.served.state.db.read() as tx:
        assert tx.execute(select(prediction_batches)).all() == []
    assert asked.result().status_code == 503


def test_rows_reach_no_log(quick: Predicting, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level("DEBUG")
    asked = quick.ask(json={"rows": ["rosebud-7f3a"]})
    batch = quick.claim()
    assert batch is not None
    assert "rosebud-7f3a" in json.dumps(batch)
    quick.answer(batch, {"request_id": batch["tasks"][0]["id"], "rows": [{"error": "rosebud-7f3a is no good"}]})
    assert "rosebud" in asked.result().json()["detail"]
    said = capfd.readouterr()
    assert "rosebud" not in said.out + said.err + caplog.text


def maintain(predicting: Predicting) -> None:
    """A pass of pruning, as maintenance makes it every few minutes."""
    with predicting.served.state.db.begin() as tx:
        prune_predictions(tx)

"""Models over HTTP, on both databases: registered, uploaded, promoted, compared, downloaded, and nobody else's."""

import pickle
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from core.wire.keys import Scope
from tests.api.serving import Client, Json, Served
from tests.api.shipping import Shipper, sha256_of
from tests.bed.waiting import until

WEIGHTS = save({"weight": np.arange(12, dtype=np.float32).reshape(3, 4)})
OWN = {"model.safetensors": WEIGHTS, "config.json": b'{"family": "own"}', "model.onnx": b"onnx"}


@pytest.fixture
def client(served_on_each: Served) -> Client:
    return served_on_each.client(Scope.SUBMIT)


@pytest.fixture
def pusher(shared: Served) -> Client:
    """For what is refused before it comes to the ledger."""
    return shared.client(Scope.SUBMIT)


def trained(served: Served, accuracy: float = 0.9, **spec: Any) -> str:
    """A job that has succeeded, through the calls of a worker."""
    shipper = Shipper(served, **spec)
    assert shipper.hand_over(files={"model.safetensors": WEIGHTS, "README.md": spec.get("name", "").encode()}).status_code == 200
    assert shipper.post("finish", reason="completed", metrics={"test_accuracy": accuracy}).status_code == 200
    return shipper.job_id


def upload(client: Client, files: dict[str, bytes]) -> list[Json]:
    for data in files.values():
        answer = client.put(f"/v1/uploads/{sha256_of(data)}", params={"size": len(data)}, content=data)
        assert answer.json()["is_complete"], answer.text
    return [{"path": path, "size": len(data), "sha256": sha256_of(data)} for path, data in files.items()]


def push(client: Client, files: dict[str, bytes], name: str = "own") -> tuple[int, Json]:
    answer = client.post(f"/v1/models/{name}/versions", json={"files": upload(client, files)})
    return answer.status_code, answer.json()


def found(answer: Json) -> list[tuple[str, str]]:
    return [(item["pointer"], item["code"]) for item in answer["errors"]]


def promote(client: Client, version: int | str, **check: Any) -> tuple[int, Json]:
    body: Json = {"version": version, **({"unless_worse": check} if check else {})}
    answer = client.put("/v1/models/digits/aliases/production", json=body)
    return answer.status_code, answer.json()


def test_a_job_becomes_a_model_that_is_promoted_compared_and_downloaded(served_on_each: Served, client: Client) -> None:
    first, second = trained(served_on_each, 0.9, name="one"), trained(served_on_each, 0.8, name="two", seed=1)
    made = client.post("/v1/models", json={"name": "digits", "job": first, "description": "small"})
    assert (made.status_code, made.json()["version"]) == (201, 1)
    again = client.post("/v1/models", json={"name": "digits", "job": first})
    assert (again.status_code, again.json()) == (200, made.json())
    assert client.post("/v1/models/digits/versions", json={"job": second}).json()["version"] == 2
    assert promote(client, 1)[0] == 200
    status, refusal = promote(client, 2, metric="accuracy")
    assert (status, refusal["error"]["code"]) == (409, "check_failed")
    assert "0.8" in refusal["detail"]
    assert "0.9" in refusal["detail"]
    model = client.get("/v1/models/digits").json()
    assert (model["aliases"], model["latest_version"], model["description"]) == ({"production": 1}, 2, "small")
    compared = client.get("/v1/models/digits/compare", params={"a": "1", "b": "latest"}).json()
    assert compared["metrics"]["test_accuracy"]["better"] == "a"
    assert compared["spec_differences"] == [{"pointer": "/seed", "a": 0, "b": 1}]
    assert promote(client, "latest", metric="accuracy", tolerance=0.2)[1]["outcome"] == "promoted"
    events = client.get("/v1/models/digits/events", params={"alias": "production"}).json()["data"]
    assert [(event["type"], event["version"]) for event in events] == [
        ("alias.moved", 1),
        ("promotion.refused", 2),
        ("alias.moved", 2),
    ]
    assert all(event["by"].startswith("key_") for event in events)
    assert client.delete("/v1/models/digits/versions/2").status_code == 409
    assert client.delete("/v1/models/digits/aliases/production").status_code == 204
    assert client.delete("/v1/models/digits/versions/2").status_code == 204
    assert [item["version"] for item in client.get("/v1/models/digits/versions").json()["data"]] == [1]


def test_files_are_downloaded_whole_and_in_parts(served_on_each: Served, client: Client) -> None:
    client.post("/v1/models", json={"name": "digits", "job": trained(served_on_each)})
    files = client.get("/v1/models/digits/versions/latest/files").json()["data"]
    assert [item["path"] for item in files] == ["README.md", "model.safetensors"]
    url = "/v1/models/digits/versions/1/files/model.safetensors"
    whole = client.get(url)
    assert (whole.content, whole.headers["etag"]) == (WEIGHTS, f'"{sha256_of(WEIGHTS)}"')
    part = client.get(url, headers={"Range": "bytes=8-11"})
    assert (part.status_code, part.content) == (206, WEIGHTS[8:12])
    assert client.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert client.head(url).headers["content-length"] == str(len(WEIGHTS))
    for path in ("nothing", "../../etc/passwd", "%00", "a%2f..%2fb"):
        assert client.get(f"/v1/models/digits/versions/1/files/{path}").status_code == 404, path


def test_a_worker_that_finishes_registers_what_the_spec_asks_for(served_on_each: Served, client: Client) -> None:
    job = trained(served_on_each, register_as="digits")
    version = client.get("/v1/models/digits/versions/latest").json()
    assert (version["version"], version["job_id"]) == (1, job)


def test_a_model_of_ones_own_is_uploaded(client: Client) -> None:
    status, version = push(client, OWN)
    assert (status, version["version"], version["job_id"], version["num_files"]) == (201, 1, None, 3)
    assert push(client, OWN) == (200, version)
    assert client.get("/v1/models/own/versions/1/files/model.safetensors").content == WEIGHTS
    checked = client.post("/v1/jobs/validate", json={"recipe": "scripted", "base_model": "own@latest"})
    assert checked.json()["spec"]["base_model"] == {"name": "own", "version": 1}
    unknown = client.post("/v1/jobs/validate", json={"recipe": "scripted", "base_model": "own@2"})
    assert found(unknown.json()) == [("/base_model/version", "not_found")]
    assert client.submit(base_model="own")
    assert client.get("/v1/models/own/compare", params={"a": "1", "b": "1"}).json()["spec_differences"] is None


@pytest.mark.parametrize("name", ["model.pt", "a/pytorch_model.BIN", "model.pkl", "model.ckpt", "pipe.joblib", "model.pth"])
def test_promise_20_pickles_are_refused_by_name(pusher: Client, name: str) -> None:
    status, refusal = push(pusher, {**OWN, name: pickle.dumps({"a": 1})})
    assert (status, found(refusal)) == (422, [("/files/3/path", "pickle")])
    assert pusher.get("/v1/models/own").status_code == 404


@pytest.mark.parametrize("data", [b"", pickle.dumps({"a": 1}), WEIGHTS[:-1], WEIGHTS + b"x", b"PK\x03\x04" + bytes(100)])
def test_promise_20_weights_that_are_none_are_refused(pusher: Client, data: bytes) -> None:
    status, refusal = push(pusher, {"config.json": b"{}", "model.safetensors": data})
    assert (status, found(refusal)) == (422, [("/files/1", "bad_safetensors")])
    assert pusher.get("/v1/models/own").status_code == 404


def test_a_model_without_weights_and_two_files_of_one_name_are_refused(pusher: Client) -> None:
    assert found(push(pusher, {"model.onnx": b"onnx"})[1]) == [("/files", "no_weights")]
    assert push(pusher, {"model.safetensors": WEIGHTS, "MODEL.safetensors": WEIGHTS})[0] == 422


def test_bytes_that_were_not_uploaded_are_nobodys_to_use(served_on_each: Served, client: Client) -> None:
    push(client, OWN)
    stranger = served_on_each.client(Scope.SUBMIT, project="another")
    listed = [{"path": path, "size": len(data), "sha256": sha256_of(data)} for path, data in OWN.items()]
    refusal = stranger.post("/v1/models/own/versions", json={"files": listed}).json()
    assert {code for _, code in found(refusal)} == {"not_uploaded"}


def test_another_projects_models_answer_like_absent_ones(served_on_each: Served, client: Client) -> None:
    job = trained(served_on_each, register_as="digits")
    stranger = served_on_each.client(Scope.SUBMIT, project="another")
    assert stranger.get("/v1/models").json()["data"] == []
    for method, path in (
        ("GET", "digits"),
        ("GET", "digits/events"),
        ("GET", "digits/versions"),
        ("GET", "digits/versions/1"),
        ("GET", "digits/versions/1/files"),
        ("GET", "digits/versions/1/files/model.safetensors"),
        ("GET", "digits/compare?a=1&b=1"),
        ("GET", "digits/promotions"),
        ("DELETE", "digits/versions/1"),
        ("DELETE", "digits/aliases/production"),
    ):
        assert stranger.request(method, f"/v1/models/{path}").status_code == 404, path
    assert stranger.put("/v1/models/digits/aliases/production", json={"version": 1}).status_code == 404
    assert found(stranger.post("/v1/models", json={"name": "digits", "job": job}).json()) == [("/job", "not_found")]
    reader = served_on_each.client(Scope.READ)
    assert reader.get("/v1/models/digits").status_code == 200
    assert reader.put("/v1/models/digits/aliases/production", json={"version": 1}).status_code == 403


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"version": 0}, "/version"),
        ({"version": "Production"}, "/version"),
        ({"version": 1, "unless_worse": {"metric": "a", "tolerance": -1}}, "/unless_worse/tolerance"),
        ({"version": 1, "unless_worse": {}}, "/unless_worse/metric"),
        ({"version": 9}, "/version"),
    ],
)
def test_a_wrong_promotion_says_where(served_on_each: Served, client: Client, body: Json, pointer: str) -> None:
    trained(served_on_each, register_as="digits")
    answer = client.put("/v1/models/digits/aliases/production", json=body)
    assert answer.status_code == 422
    assert found(answer.json())[0][0].startswith(pointer)


def test_a_promotion_by_jobs_is_decided_when_they_end(served_on_each: Served, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    # The drill's recipe scores nothing: what it would answer is told here by the calls of a worker.
    monkeypatch.setattr("core.models.promote.EVALUATION", "scripted")
    for seed in (1, 2):
        trained(served_on_each, seed=seed, register_as="digits")
    promote(client, 1)
    status, pending = promote(client, 2, metric="accuracy", dataset={"builtin": "digits"})
    assert (status, pending["outcome"]) == (202, "pending")
    client.post(f"/v1/jobs/{pending['check']['current_job_id']}/cancel")
    node = served_on_each.node()
    claim = node.claim(node.register("scorer"))
    assert claim is not None
    assert claim["job_id"] == pending["check"]["candidate_job_id"]
    assert [item["path"] for item in claim["base_model"]["files"]] == ["README.md", "model.safetensors"]
    node.say(claim, "finish", reason="completed", metrics={"accuracy": 1.0})
    url = f"/v1/models/digits/promotions/{pending['id']}"
    until(lambda: client.get(url).json()["outcome"] != "pending", within=20, what="the promotion is decided")
    assert client.get(url).json()["outcome"] == "failed"
    assert client.get("/v1/models/digits/promotions").json()["data"] == [client.get(url).json()]

"""A project's own bytes over HTTP, on both databases: in parts, proven by their digest, and nobody else's."""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from core.artifacts.orphans import collect_orphans
from core.artifacts.uploads import require_uploads
from core.clock import SystemClock
from core.errors import InvalidInput
from core.manifest import ManifestFile
from core.wire.keys import Scope
from tests.api.serving import Client, Json, Served
from tests.api.shipping import sha256_of
from trainyard.errors import BadInput, InvalidRequest
from trainyard.settings import ClientSettings
from trainyard.transport import Transport
from trainyard.uploads import describe_file, upload_file

DATA = os.urandom(2_500_000)
SHA = sha256_of(DATA)


def put(client: Client, data: bytes, *, offset: int = 0, size: int | None = None, sha256: str = SHA) -> tuple[int, Json]:
    answer = client.put(f"/v1/uploads/{sha256}", params={"offset": offset, "size": len(data) if size is None else size}, content=data)
    return answer.status_code, answer.json()


@pytest.fixture
def client(served_on_each: Served) -> Client:
    return served_on_each.client(Scope.SUBMIT)


def test_promise_19_an_upload_goes_on_where_it_broke_off(client: Client) -> None:
    assert put(client, DATA[:1000], size=len(DATA)) == (200, {"offset": 1000, "is_complete": False})
    assert client.get(f"/v1/uploads/{SHA}").json() == {"offset": 1000, "is_complete": False}
    status, problem = put(client, DATA[:10], offset=5, size=len(DATA))
    assert (status, problem["error"]["code"], problem["expected_offset"]) == (409, "offset_mismatch", 1000)
    assert put(client, DATA[1000:], offset=1000, size=len(DATA)) == (200, {"offset": len(DATA), "is_complete": True})
    assert put(client, b"", size=len(DATA)) == (200, {"offset": len(DATA), "is_complete": True})


def test_promise_19_a_wrong_digest_is_never_accepted(client: Client) -> None:
    status, problem = put(client, DATA[::-1])
    assert (status, problem["error"]["code"]) == (422, "digest_mismatch")
    assert client.get(f"/v1/uploads/{SHA}").json() == {"offset": 0, "is_complete": False}


def test_who_knows_a_digest_does_not_have_the_bytes(served_on_each: Served, client: Client) -> None:
    assert put(client, DATA)[1]["is_complete"]
    stranger = served_on_each.client(Scope.SUBMIT, project="another")
    assert stranger.get(f"/v1/uploads/{SHA}").json() == {"offset": 0, "is_complete": False}
    assert put(stranger, b"", size=len(DATA)) == (200, {"offset": 0, "is_complete": False})
    assert put(stranger, DATA)[1]["is_complete"]
    objects = [path for path in (served_on_each.state.settings.data_dir / "sha256").rglob("*") if path.is_file()]
    assert [path.name for path in objects] == [SHA], "the same bytes are stored once"


def test_every_file_that_was_not_uploaded_is_named(served_on_each: Served, client: Client) -> None:
    put(client, DATA)
    known = ManifestFile(path="a", size=len(DATA), sha256=SHA)
    with served_on_each.state.db.read() as tx:
        project = project_of(served_on_each, client)
        require_uploads(tx, project, [known])
        with pytest.raises(InvalidInput) as refused:
            require_uploads(tx, project, [known, known.model_copy(update={"size": 3}), known.model_copy(update={"sha256": "0" * 64})])
    assert [(item.pointer, item.code) for item in refused.value.problems] == [("/files/1/size", "invalid"), ("/files/2", "not_uploaded")]


def test_what_nothing_refers_to_is_removed_and_has_to_be_sent_again(served_on_each: Served, client: Client) -> None:
    put(client, DATA)
    state = served_on_each.state
    now = SystemClock().now()
    assert collect_orphans(state.db, state.store, now=now + timedelta(hours=23)) == 0
    assert collect_orphans(state.db, state.store, now=now + timedelta(hours=25)) == 1
    assert client.get(f"/v1/uploads/{SHA}").json() == {"offset": 0, "is_complete": False}


def test_the_code_of_a_script_is_kept_while_its_job_lives_and_read_by_its_attempt_alone(served_on_each: Served) -> None:
    admin, node, state = served_on_each.client(), served_on_each.node(), served_on_each.state
    spec = {"recipe": "script", "code": {"sha256": SHA, "size": len(DATA)}, "entrypoint": "train.py"}
    for path in ("/v1/jobs", "/v1/jobs/validate"):
        refused = admin.post(path, json=spec)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/code/0"), path
    put(admin, DATA)
    job_id = admin.post("/v1/jobs", json=spec).json()["id"]
    admin.submit(training={"ending": "never"})
    later = SystemClock().now() + timedelta(hours=25)
    assert collect_orphans(state.db, state.store, now=later) == 0

    worker_id, answers = node.register(), []
    for device in (0, 1):
        claim = node.claim(worker_id, devices=(device,))
        assert claim is not None
        headers = {"Authorization": f"Bearer {claim['lease_token']}"}
        answers.append(served_on_each.stranger().get(f"/v1/worker/attempts/{claim['attempt_id']}/blobs/{SHA}", headers=headers))
        if claim["job_id"] == job_id:
            node.say(claim, "finish", reason="user_error")
    assert [answer.status_code for answer in answers] == [200, 404]
    assert answers[0].content == DATA
    assert admin.job(job_id)["is_terminal"]
    assert collect_orphans(state.db, state.store, now=later) == 1


def test_a_key_that_may_only_read_uploads_nothing(served_on_each: Served) -> None:
    assert put(served_on_each.client(Scope.READ), DATA)[0] == 403


@pytest.fixture
def transport(served_on_each: Served) -> Iterator[Transport]:
    with closing(Transport(ClientSettings(url=served_on_each.url, api_key=served_on_each.key(Scope.SUBMIT)))) as found:
        yield found


def test_the_client_sends_what_is_missing_and_tells_how_far_it_is(transport: Transport, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    described = describe_file(path, "data.bin")
    assert (described.size, described.sha256) == (len(DATA), SHA)
    heard: list[int] = []
    upload_file(transport, path, described, heard.append)
    upload_file(transport, path, described, heard.append)
    assert heard == [0, len(DATA), len(DATA)]


def test_the_client_refuses_what_it_cannot_send(transport: Transport, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    described = describe_file(path, "data.bin")
    path.write_bytes(DATA[:-1])
    with pytest.raises(BadInput, match="shorter"):
        upload_file(transport, path, described)
    path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    with pytest.raises(InvalidRequest, match="SHA-256"):
        upload_file(transport, path, described)
    with pytest.raises(BadInput, match="name"):
        describe_file(path, "../data.bin")
    with pytest.raises(BadInput, match="cannot be read"):
        describe_file(tmp_path / "none", "none")


def project_of(served: Served, client: Client) -> str:
    with served.state.db.read() as tx:
        return str(tx.exec_driver_sql("SELECT project_id FROM uploads").scalar_one())

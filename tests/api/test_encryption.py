"""Encryption at rest over HTTP: the same answers as without, keys that a server insists on, and damage that is told."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from core.artifacts.encrypt_stored import encrypt_stored
from core.artifacts.sealed_store import SealedStore
from core.artifacts.segments import FRAME, HEADER, SEGMENT
from core.wire.keys import Scope
from tests.api.serving import Client, Served, serving
from tests.api.shipping import Shipper, sha256_of
from tests.api.test_process import ApiProcess
from tests.bed.servers import Servers

MASTER = "m" * 40
DATA = b"plain bytes that must not lie anywhere " * 70_000
SHA = sha256_of(DATA)


@pytest.fixture
def encrypting(database_url: str, tmp_path: Path) -> Iterator[Served]:
    with serving(database_url, tmp_path, master_key=SecretStr(MASTER), encrypt_at_rest=True) as found:
        yield found


def path_of(folder: Path, sha256: str = SHA) -> Path:
    return folder / "bytes" / "sealed" / sha256[:2] / sha256[2:4] / sha256


def upload(client: Client, data: bytes = DATA) -> None:
    answer = client.put(f"/v1/uploads/{sha256_of(data)}", params={"size": len(data)}, content=data)
    assert answer.json() == {"offset": len(data), "is_complete": True}, answer.text


def test_clients_see_the_plain_bytes_in_every_way(encrypting: Served, tmp_path: Path) -> None:
    shipper = Shipper(encrypting)
    assert shipper.hand_over(files={"model.bin": DATA, "empty": b""}).status_code == 200
    whole = shipper.get("artifacts/model.bin")
    assert (whole.content, whole.headers["etag"]) == (DATA, f'"{SHA}"')
    assert int(whole.headers["content-length"]) == len(DATA)
    start, end = SEGMENT - 10, SEGMENT + 9
    part = shipper.get("artifacts/model.bin", headers={"Range": f"bytes={start}-{end}"})
    assert (part.status_code, part.content) == (206, DATA[start : end + 1])
    assert shipper.get("artifacts/empty").content == b""
    assert DATA in shipper.get("archive").content
    shipper.put_log(0, b"printed\n")
    shipper.finish()
    assert not any(DATA[:39] in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_second_project_is_told_and_can_read_without_the_first(encrypting: Served) -> None:
    for project in ("one", "two"):
        client = encrypting.client(Scope.SUBMIT, project=project)
        upload(client)
        assert client.get(f"/v1/uploads/{SHA}").json()["is_complete"]
    with encrypting.state.db.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*), count(DISTINCT sha256) FROM blob_keys").one() == (2, 1)


def test_an_attempt_of_another_project_gets_a_key_with_the_bytes_it_need_not_send(encrypting: Served) -> None:
    upload(encrypting.client(Scope.SUBMIT, project="one"))
    shipper = Shipper(encrypting)
    assert shipper.put_blob(b"", size=len(DATA), sha256=SHA).json() == {"offset": len(DATA), "is_complete": True}
    with encrypting.state.db.begin() as tx:
        tx.exec_driver_sql("DELETE FROM blob_keys WHERE project_id = (SELECT id FROM projects WHERE name = 'one')")
    assert encrypting.state.blob_keys is not None
    encrypting.state.blob_keys.of(SHA, anew=True)


def test_damage_is_a_problem_and_never_wrong_bytes(encrypting: Served, tmp_path: Path) -> None:
    shipper = Shipper(encrypting)
    shipper.hand_over(files={"model.bin": DATA})
    content = bytearray(path_of(tmp_path).read_bytes())
    content[HEADER + FRAME + 1000] ^= 1
    path_of(tmp_path).write_bytes(content)
    assert shipper.get("artifacts/model.bin", headers={"Range": "bytes=0-9"}).content == DATA[:10], "the other segments are whole"
    answer = shipper.get("artifacts/model.bin", headers={"Range": f"bytes={SEGMENT}-{SEGMENT + 9}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "bytes_damaged")
    received: list[bytes] = []
    with pytest.raises(httpx2.RemoteProtocolError), shipper.admin.stream("GET", f"/v1/jobs/{shipper.job_id}/artifacts/model.bin") as stream:
        received.extend(stream.iter_raw())
    assert DATA.startswith(b"".join(received))


def test_what_a_bucket_holds_encrypted_passes_through_the_service(sqlite_url: str, servers: Servers, tmp_path: Path) -> None:
    bucket = servers.s3.new_bucket()
    with serving(sqlite_url, tmp_path, **bucket.settings(), master_key=SecretStr(MASTER), encrypt_at_rest=True) as served:
        shipper = Shipper(served)
        asked = shipper.http.get(f"{shipper.url}/blobs/{SHA}/upload", params={"size": len(DATA)}).json()
        assert asked == {"offset": 0, "is_complete": False, "direct": None}
        shipper.hand_over(files={"model.bin": DATA})
        answer = shipper.get("artifacts/model.bin", follow_redirects=False)
        assert (answer.status_code, answer.content) == (200, DATA)
    sealed = f"sealed/{SHA[:2]}/{SHA[2:4]}/{SHA}"
    assert bucket.names() == [sealed]
    assert DATA[:39] not in bucket.bytes_of(sealed)


def test_what_was_stored_before_can_be_encrypted_later(sqlite_url: str, tmp_path: Path) -> None:
    with serving(sqlite_url, tmp_path) as before:
        shipper = Shipper(before)
        shipper.hand_over(files={"model.bin": DATA})
        job_id = shipper.job_id
    with serving(sqlite_url, tmp_path, master_key=SecretStr(MASTER), encrypt_at_rest=True) as after:
        url, client = f"/v1/jobs/{job_id}/artifacts/model.bin", after.client()
        assert client.get(url).content == DATA
        assert isinstance(after.state.store, SealedStore)
        assert encrypt_stored(after.state.db, after.state.store) == 1
        assert encrypt_stored(after.state.db, after.state.store) == 0
        assert client.get(url).content == DATA
        assert not any(path.is_file() for path in (tmp_path / "bytes" / "sha256").rglob("*"))


# The process: what it starts with


def key_file(folder: Path, text: str = MASTER, mode: int = 0o600) -> str:
    path = folder / f"key-{sha256_of(text.encode())[:8]}-{mode:o}"
    path.write_text(text + "\n")
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "needs TRAINYARD_MASTER_KEY or TRAINYARD_MASTER_KEY_FILE"),
        ({"TRAINYARD_MASTER_KEY": "short"}, "TRAINYARD_MASTER_KEY: "),
        ({"TRAINYARD_MASTER_KEY_FILE": "{open}"}, "chmod 600"),
        ({"TRAINYARD_MASTER_KEY_FILE": "/nowhere"}, "cannot be read"),
        ({"TRAINYARD_MASTER_KEY_FILE": "{good}", "TRAINYARD_MASTER_KEY": MASTER}, "not both"),
    ],
)
def test_no_server_starts_without_a_key_to_encrypt_with(sqlite_url: str, tmp_path: Path, environment: dict[str, str], told: str) -> None:
    names = {"open": key_file(tmp_path, mode=0o640), "good": key_file(tmp_path)}
    values = {name: value.format(**names) for name, value in environment.items()}
    ended = ApiProcess(sqlite_url, tmp_path, TRAINYARD_ENCRYPT_AT_REST="true", **values).run("serve")
    assert ended.returncode == 2
    assert told in ended.stderr
    assert MASTER not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_server_starts_with_the_key_of_its_ledger_alone_and_the_key_can_be_exchanged(database_url: str, tmp_path: Path) -> None:
    first, second = key_file(tmp_path), key_file(tmp_path, "n" * 40)
    api = ApiProcess(database_url, tmp_path, TRAINYARD_ENCRYPT_AT_REST="true", TRAINYARD_MASTER_KEY_FILE=first)
    key = api.key()
    serve(api, key, DATA)
    for wrong in ({"TRAINYARD_MASTER_KEY_FILE": second}, {"TRAINYARD_ENCRYPT_AT_REST": "false", "TRAINYARD_MASTER_KEY_FILE": ""}):
        refused = changed(api, **wrong).run("serve")
        assert refused.returncode == 1, refused.stderr
        assert "encrypted" in refused.stderr
    rotated = api.run("rotate-master-key", "--new-key-file", second)
    assert (rotated.returncode, rotated.stdout.split(" ")[:3]) == (0, ["1", "project", "keys"]), rotated.stderr
    assert api.run("serve").returncode == 1, "the old key opens nothing"
    serve(changed(api, TRAINYARD_MASTER_KEY_FILE=second, TRAINYARD_ENCRYPT_AT_REST="false"), key, None)


def changed(api: ApiProcess, **environment: str) -> ApiProcess:
    """The same service with other settings."""
    other = ApiProcess(api.environment["TRAINYARD_DATABASE_URL"], api.folder)
    other.environment = {**api.environment, **environment, "TRAINYARD_PORT": str(other.port)}
    return other


def serve(api: ApiProcess, key: str, data: bytes | None) -> None:
    """Stores the bytes as a dataset with a project secret beside it, or without them reads what was stored."""
    server = api.serve()
    try:
        with api.client(key) as http:
            if data is not None:
                assert http.post("/v1/datasets", json={"name": "held"}).status_code == 201
                assert http.put("/v1/datasets/held/files/a.bin", content=data).status_code == 200
                assert http.put("/v1/secrets/TOKEN", json={"value": "a-secret-value"}).status_code == 200
            version = http.get("/v1/datasets/held").json()
            assert sha256_of(http.get("/v1/datasets/held/versions/1/files/a.bin").content) == SHA, version
    finally:
        server.stop()


def test_unrelated_bytes_of_many_sizes_come_back(encrypting: Served) -> None:
    shipper = Shipper(encrypting)
    files = {f"{size}.bin": os.urandom(size) for size in (1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT)}
    shipper.hand_over(files=files)
    assert {name: shipper.get(f"artifacts/{name}").content for name in files} == files

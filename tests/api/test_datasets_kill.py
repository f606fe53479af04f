"""kill -9 of the API while a dataset is being sent: nothing of a streamed file stays, a resumable one goes on, versions are whole."""

import os
import socket
from pathlib import Path

import pytest

from tests.api.shipping import sha256_of
from tests.api.test_process import ApiProcess
from tests.bed.waiting import until

MIB = 1 << 20


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> ApiProcess:
    return ApiProcess(sqlite_url, tmp_path)


def staged_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "bytes" / "staging").iterdir())


def test_promise_19_a_streamed_file_is_whole_or_not_there(api: ApiProcess, tmp_path: Path) -> None:
    data, key = os.urandom(8 * MIB), api.key()
    first = api.serve()
    try:
        with api.client(key) as http:
            http.post("/v1/datasets", json={"name": "birds"})
        head = f"PUT /v1/datasets/birds/files/a.bin HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        with socket.create_connection(("127.0.0.1", api.port)) as connection:
            connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data[: 5 * MIB])
            until(lambda: staged_bytes(tmp_path) > MIB, within=20, what="bytes arrive")
            first.kill9()
    finally:
        first.stop()
    second = api.serve()
    try:
        with api.client(key) as http:
            assert http.get("/v1/datasets/birds").json()["versions"] == []
            assert http.put("/v1/datasets/birds/files/a.bin", content=data).json()["sha256"] == sha256_of(data)
            assert http.get("/v1/datasets/birds/versions/1/files/a.bin").content == data
    finally:
        second.stop()


def test_promise_19_a_sender_that_leaves_leaves_nothing(api: ApiProcess, tmp_path: Path) -> None:
    key = api.key()
    server = api.serve()
    try:
        with api.client(key) as http:
            http.post("/v1/datasets", json={"name": "birds"})
            head = f"PUT /v1/datasets/birds/files/a.bin HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
            with socket.create_connection(("127.0.0.1", api.port)) as connection:
                connection.sendall(f"{head}Content-Length: {8 * MIB}\r\n\r\n".encode() + bytes(5 * MIB))
                until(lambda: staged_bytes(tmp_path) > MIB, within=20, what="bytes arrive")
            until(lambda: staged_bytes(tmp_path) == 0, within=20, what="what was staged is gone")
            assert http.get("/v1/datasets/birds").json()["versions"] == []
    finally:
        server.stop()

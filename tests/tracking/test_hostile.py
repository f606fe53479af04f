"""Bytes of foreign code: whatever comes, the server answers the next request, and nothing outside its folder is touched."""

import json
import socket
from pathlib import Path

import pytest

from tests.bed.waiting import until
from tests.tracking.serving import API, ARTIFACTS, GET_RUN, RUN_ID, Attempt


@pytest.fixture
def attempt(served: Attempt) -> Attempt:
    """A start of its own for every wrong byte would take seconds each."""
    return served


def outside(attempt: Attempt) -> set[str]:
    """Everything beside the folder of artifacts, but for the files that the server writes when it comes to it."""
    folder = attempt.folder
    written_behind = {path.name for path in (folder.params, folder.tags, folder.runs, folder.progress)}
    paths = [path for path in attempt.root.parent.rglob("*") if not path.is_relative_to(folder.artifacts)]
    return {str(path) for path in paths if not any(name in path.name for name in written_behind)}


def raw(attempt: Attempt, data: bytes) -> bytes:
    """What comes back, until the server hangs up."""
    with socket.create_connection(("127.0.0.1", attempt.port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def head(attempt: Attempt, request: str, *headers: str) -> bytes:
    lines = [
        f"{request} HTTP/1.1", f"Host: 127.0.0.1:{attempt.port}", f"Authorization: Bearer {attempt.token}", "Connection: close", *headers,
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize("given", ["", "Bearer wrong", "Bearer", "Basic dTpw", "bearer é"])
@pytest.mark.parametrize("path", [GET_RUN, "/kubeflow/status", f"{ARTIFACTS}/{RUN_ID}/a.txt", "/nowhere"])
def test_without_the_token_nothing_is_told(attempt: Attempt, given: str, path: str) -> None:
    status, told = attempt.ask("GET", path, Authorization=given)
    assert (status, told["error_code"]) == (401, "UNAUTHENTICATED")
    assert attempt.token not in json.dumps(told)


@pytest.mark.parametrize("name", ["example.org", "127.0.0.1", "127.0.0.1:1", "", "0.0.0.0:{port}"])
def test_another_name_is_another_server(attempt: Attempt, name: str) -> None:
    status, told = attempt.ask("GET", GET_RUN, Host=name.format(port=attempt.port))
    assert (status, told["error_code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"run_id": ' + b"9" * 5000 + b"}", b'{"a":' * 50_000],
    ids=["empty", "torn", "list", "null", "no-utf8", "deep-list", "huge-number", "deep-object"],
)
def test_what_is_not_a_json_object_is_refused(attempt: Attempt, body: bytes) -> None:
    status, told = attempt.ask("POST", f"{API}/runs/log-batch", body)
    assert (status, told["error_code"]) == (400, "BAD_REQUEST")
    assert attempt.lives()


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("runs/log-metric", {"key": "a", "value": 1}, "run_uuid"),
        ("runs/log-metric", {"run_id": RUN_ID, "key": "", "value": 1}, "key"),
        ("runs/log-metric", {"run_id": RUN_ID, "key": "a\n", "value": 1}, "key"),
        ("runs/log-metric", {"run_id": RUN_ID, "key": "\ud800", "value": 1}, "key"),
        ("runs/log-metric", {"run_id": RUN_ID, "key": "k" * 251, "value": 1}, "key"),
        ("runs/log-metric", {"run_id": RUN_ID, "key": "a", "value": "much"}, "value"),
        ("runs/log-metric", {"run_id": RUN_ID, "key": "a", "value": True}, "value"),
        ("runs/log-metric", {"run_id": RUN_ID, "key": "a", "value": 1, "step": 1.5}, "step"),
        ("runs/log-metric", {"run_id": RUN_ID, "key": "a", "value": 1, "timestamp": 10**30}, "timestamp"),
        ("runs/log-parameter", {"run_id": RUN_ID, "key": "a", "value": ["x"]}, "value"),
        ("runs/log-parameter", {"run_id": RUN_ID, "key": "a", "value": "v" * 8001}, "value"),
        ("runs/log-batch", {"run_id": RUN_ID, "metrics": {"a": 1}}, "metrics"),
        ("runs/log-batch", {"run_id": RUN_ID, "params": ["a"]}, "params"),
        ("runs/log-batch", {"run_id": RUN_ID, "metrics": [{"key": "a", "value": 1}] * 1001}, "metrics"),
        ("runs/update", {"run_id": RUN_ID, "status": "GREAT"}, "status"),
        ("runs/search", {"filter": "params.a ~ 'x'"}, "filter"),
        ("runs/search", {"filter": "wishes.a = 'x'"}, "searched"),
        ("runs/search", {"filter": "tags.a LIKE '%a%a%a%a%a'"}, "'%'"),
        ("runs/search", {"order_by": ["metrics.a SIDEWAYS"]}, "order_by"),
        ("runs/search", {"page_token": "AAAA"}, "page_token"),
        ("runs/search", {"max_results": 0}, "max_results"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(attempt: Attempt, path: str, body: dict[str, object], said: str) -> None:
    status, told = attempt.ask("POST", f"{API}/{path}", body)
    assert (status, told["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert said in told["message"]
    assert attempt.folder.metrics.read_bytes() == b""


def test_what_does_not_exist_is_said_in_the_clients_words(attempt: Attempt) -> None:
    for method, path, body in (
        ("GET", f"{API}/runs/get?run_id=another", None),
        ("POST", f"{API}/runs/log-metric", {"run_id": "another", "key": "a", "value": 1}),
        ("POST", f"{API}/runs/delete-tag", {"run_id": RUN_ID, "key": "a"}),
        ("GET", f"{API}/experiments/get?experiment_id=77", None),
        ("GET", f"{ARTIFACTS}/{RUN_ID}/absent.txt", None),
        ("GET", f"{ARTIFACTS}?path=another", None),
    ):
        status, told = attempt.ask(method, path, body)
        assert (status, told["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST"), path
    for method, path in (("GET", "/"), ("POST", f"{API}/registered-models/create"), ("DELETE", f"{ARTIFACTS}/{RUN_ID}/a")):
        status, told = attempt.ask(method, path, {})
        assert (status, told["error_code"]) == (404, "ENDPOINT_NOT_FOUND"), path


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "%2e%2e/evil", "a/../../evil", "a/%2E%2E/%2E%2E/evil", "..%2f..%2fevil", "%2Fetc%2Fevil",
        "/evil", "a//evil", ".", "a/./b",
               "a%00b", "a%0ab", "a%5c..%5cevil", "%ff", "x" * 256, "/".join(["d"] * 33), "e%CC%81", "%E2%80%AEevil", "",
    ],
)  # fmt: skip
def test_a_name_that_could_lead_elsewhere_is_refused(attempt: Attempt, name: str) -> None:
    before = outside(attempt)
    status, told = attempt.ask("PUT", f"{ARTIFACTS}/{RUN_ID}/{name}", b"evil")
    assert status == 400, told
    assert outside(attempt) == before
    assert list(attempt.folder.artifacts.iterdir()) == []


def test_a_link_in_the_folder_is_not_followed(attempt: Attempt, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    (attempt.folder.artifacts / "door").symlink_to(secret)
    (attempt.folder.artifacts / "file").symlink_to(secret / "file")
    assert attempt.ask("PUT", f"{ARTIFACTS}/{RUN_ID}/door/new", b"evil")[0] == 400
    assert attempt.ask("GET", f"{ARTIFACTS}/{RUN_ID}/door/file")[0] == 400
    assert attempt.ask("GET", f"{ARTIFACTS}/{RUN_ID}/file")[0] == 404
    assert attempt.ask("GET", f"{ARTIFACTS}?path={RUN_ID}") == (200, {"files": []})
    assert attempt.ask("PUT", f"{ARTIFACTS}/{RUN_ID}/file", b"mine")[0] == 200, "the link itself is replaced"
    assert {path.name: path.read_text() for path in secret.iterdir()} == {"file": "secret"}


def test_a_file_cannot_lie_below_a_file(attempt: Attempt) -> None:
    assert attempt.ask("PUT", f"{ARTIFACTS}/{RUN_ID}/a/b", b"1") == (200, {})
    assert attempt.ask("PUT", f"{ARTIFACTS}/{RUN_ID}/a/b/c", b"2")[0] == 400
    assert attempt.ask("PUT", f"{ARTIFACTS}/{RUN_ID}/a", b"3")[0] == 400
    assert (attempt.folder.artifacts / "a" / "b").read_bytes() == b"1"
    assert list(attempt.folder.incoming.iterdir()) == []


def test_json_of_more_than_a_mebibyte_is_refused_and_its_sender_reads_why(attempt: Attempt) -> None:
    huge = b'{"run_id": "' + b"x" * (20 << 20) + b'"}'
    status, told = attempt.ask("POST", f"{API}/runs/log-batch", huge)
    assert (status, told["error_code"]) == (413, "RESOURCE_LIMIT_EXCEEDED")
    chunks = b"".join(b"10000\r\n" + b"x" * 0x10000 + b"\r\n" for _ in range(32)) + b"0\r\n\r\n"
    answer = raw(attempt, head(attempt, f"POST {API}/runs/log-batch", "Transfer-Encoding: chunked") + chunks)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert attempt.lives()


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: -1"], ["Content-Length: 1e3"], ["Content-Length: 5", "Content-Length: 6"], ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"], ["Content-Length: 99999999999999999999"],
    ],
)  # fmt: skip
def test_an_unclear_length_is_refused(attempt: Attempt, headers: list[str]) -> None:
    answer = raw(attempt, head(attempt, f"PUT {ARTIFACTS}/{RUN_ID}/a.txt", *headers) + b"12345")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert not (attempt.folder.artifacts / "a.txt").exists()


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\n12345XX0\r\n\r\n", b"-5\r\n", b"\r\n", b"fffffffffffff\r\n"])
def test_broken_chunks_are_refused(attempt: Attempt, body: bytes) -> None:
    answer = raw(attempt, head(attempt, f"PUT {ARTIFACTS}/{RUN_ID}/a.txt", "Transfer-Encoding: chunked") + body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert not (attempt.folder.artifacts / "a.txt").exists()


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01\x00\xfc\x03\x03", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 9])
def test_what_is_not_http_is_not_served(attempt: Attempt, data: bytes) -> None:
    assert b" 200 " not in raw(attempt, data)
    assert attempt.lives()


def test_endless_headers_are_cut_off(attempt: Attempt) -> None:
    assert b" 431 " in raw(attempt, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n")
    assert b" 414 " in raw(attempt, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n")
    assert attempt.lives()


@pytest.mark.parametrize("body", [b"half", b""])
def test_an_artifact_that_breaks_off_leaves_the_old_one(attempt: Attempt, body: bytes) -> None:
    path = f"{ARTIFACTS}/{RUN_ID}/model.bin"
    assert attempt.ask("PUT", path, b"old")[0] == 200
    assert raw(attempt, head(attempt, f"PUT {path}", "Content-Length: 1000000") + body) == b""
    until(lambda: not list(attempt.folder.incoming.iterdir()), within=10, what="the half file to be gone")
    assert (attempt.folder.artifacts / "model.bin").read_bytes() == b"old"


def test_long_histories_and_many_runs_come_in_pages(attempt: Attempt) -> None:
    for step in range(5):
        attempt.log_metric("loss", step, step)
        attempt.ask("POST", f"{API}/runs/create", {"experiment_id": "1", "run_name": f"run {step}", "start_time": step})
    path = f"{API}/metrics/get-history?run_id={RUN_ID}&metric_key=loss&max_results=2"
    steps, token = [], ""
    while True:
        status, told = attempt.ask("GET", f"{path}&page_token={token}")
        steps.append([item["step"] for item in told["metrics"]])
        if not (token := told.get("next_page_token", "")):
            break
    assert (status, steps) == (200, [[0, 1], [2, 3], [4]])
    status, told = attempt.ask("POST", f"{API}/runs/search", {"max_results": 4})
    assert [run["info"]["run_name"] for run in told["runs"]] == [RUN_ID, "run 4", "run 3", "run 2"]
    told = attempt.ask("POST", f"{API}/runs/search", {"max_results": 4, "page_token": told["next_page_token"]})[1]
    assert [run["info"]["run_name"] for run in told["runs"]] == ["run 1", "run 0"]
    assert "next_page_token" not in told


def test_artifacts_have_a_bound(tmp_path: Path) -> None:
    with Attempt(tmp_path / "a2").served_here(max_artifact_bytes=1000) as bounded:
        path = f"{ARTIFACTS}/{RUN_ID}"
        assert bounded.ask("PUT", f"{path}/a", b"x" * 600)[0] == 200
        assert bounded.ask("PUT", f"{path}/b", b"x" * 600)[0] == 413
        chunked = b"258\r\n" + b"x" * 600 + b"\r\n0\r\n\r\n"
        assert raw(bounded, head(bounded, f"PUT {path}/b", "Transfer-Encoding: chunked") + chunked).startswith(b"HTTP/1.1 413 ")
        assert bounded.ask("PUT", f"{path}/a", b"x" * 400)[0] == 200, "what is replaced gives its room back"
        assert bounded.ask("PUT", f"{path}/b", b"x" * 600)[0] == 200

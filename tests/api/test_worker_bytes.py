"""What supervisors ship over HTTP, on both databases: uploads that resume, commits that are whole, fences that hold."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.artifacts.store import FolderStore
from core.artifacts.upload import UploadKey
from tests.api.serving import Served, serving
from tests.api.shipping import Shipper, sha256_of
from tests.bed.waiting import until

DATA = os.urandom(3_300_000)
SHA = sha256_of(DATA)


@contextmanager
def nearly_full(served: Served) -> Iterator[None]:
    """The store finds less free than it must keep: the whole disk is its reserve."""
    store = served.state.store
    assert isinstance(store, FolderStore)
    store.staging.reserve = 1.0
    yield
    store.staging.reserve = 0.0


@pytest.fixture
def shipper(served_on_each: Served) -> Shipper:
    return Shipper(served_on_each)


def test_an_object_is_uploaded_in_parts_and_then_known(shipper: Shipper) -> None:
    first = shipper.put_blob(DATA[:1_000_001], size=len(DATA), sha256=SHA)
    assert (first.status_code, first.json()) == (200, {"offset": 1_000_001, "is_complete": False})
    assert shipper.http.get(f"{shipper.url}/blobs/{SHA}/upload").json() == {"offset": 1_000_001, "is_complete": False}
    second = shipper.put_blob(DATA[1_000_001:], offset=1_000_001, size=len(DATA), sha256=SHA)
    assert second.json() == {"offset": len(DATA), "is_complete": True}
    assert shipper.put_blob(b"", size=len(DATA), sha256=SHA).json() == {"offset": len(DATA), "is_complete": True}
    assert shipper.http.get(f"{shipper.url}/blobs/{SHA}/upload").json() == {"offset": len(DATA), "is_complete": True}


def test_promise_19_a_wrong_offset_is_answered_with_the_right_one(shipper: Shipper) -> None:
    shipper.put_blob(DATA[:100], size=len(DATA), sha256=SHA)
    for offset in (0, 99, 101, len(DATA) - 50, len(DATA)):
        refused = shipper.put_blob(DATA[:50], offset=offset, size=len(DATA), sha256=SHA)
        assert (refused.status_code, refused.json()["error"]["code"], refused.json()["expected_offset"]) == (409, "offset_mismatch", 100)
    assert shipper.http.get(f"{shipper.url}/blobs/{SHA}/upload").json()["offset"] == 100


def test_promise_19_a_wrong_digest_is_never_accepted(shipper: Shipper) -> None:
    refused = shipper.put_blob(DATA[::-1], sha256=SHA)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "digest_mismatch")
    assert shipper.http.get(f"{shipper.url}/blobs/{SHA}/upload").json() == {"offset": 0, "is_complete": False}
    missing = shipper.post("artifacts", manifest={"files": [{"path": "model", "size": len(DATA), "sha256": SHA}]})
    assert (missing.status_code, missing.json()["missing"]) == (409, [SHA])
    assert shipper.get("artifacts").json()["data"] == []


def test_more_than_the_announced_size_is_refused(shipper: Shipper) -> None:
    assert shipper.put_blob(DATA, size=len(DATA) - 1, sha256=SHA).status_code == 422
    assert shipper.put_blob(DATA, size=len(DATA), sha256=SHA).status_code == 200
    assert shipper.put_blob(b"", size=5, sha256=SHA).status_code == 422  # stored with another size


def test_a_body_without_a_length_is_cut_off_at_the_announced_size(shipper: Shipper) -> None:
    sent = (DATA[start : start + 100_000] for start in range(0, len(DATA), 100_000))
    refused = shipper.http.put(f"{shipper.url}/blobs/{SHA}", params={"offset": 0, "size": 1_500_000}, content=sent)
    assert refused.status_code == 422
    status = shipper.http.get(f"{shipper.url}/blobs/{SHA}/upload").json()
    assert status["offset"] <= 1_500_000
    assert shipper.put_blob(DATA[status["offset"] :], offset=status["offset"], size=len(DATA), sha256=SHA).json()["is_complete"]


def test_promise_19_a_cut_connection_loses_nothing_that_arrived(served_on_each: Served, shipper: Shipper) -> None:
    head = f"PUT {shipper.url}/blobs/{SHA}?offset=0&size={len(DATA)} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Authorization: {shipper.http.headers['Authorization']}\r\nContent-Length: {len(DATA)}\r\n\r\n"
    port = int(served_on_each.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + DATA[:2_000_000])
        until(lambda: served_on_each.state.store.durable_offset(UploadKey(shipper.claim["attempt_id"], SHA)) > 0, within=10)

    def held() -> bool:
        return shipper.put_blob(b"", offset=0, size=len(DATA), sha256=SHA).json()["error"]["code"] == "offset_mismatch"

    until(held, within=10, what="the first request lets go")
    offset = shipper.http.get(f"{shipper.url}/blobs/{SHA}/upload").json()["offset"]
    assert offset == 2_000_000
    assert shipper.put_blob(DATA[offset:], offset=offset, size=len(DATA), sha256=SHA).json()["is_complete"]


def test_two_uploads_at_once_give_one_whole_object(served_on_each: Served, shipper: Shipper) -> None:
    big = DATA * 8
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: shipper.put_blob(big), range(2)))
    assert 200 in [answer.status_code for answer in answers]
    for answer in answers:
        assert answer.status_code == 200 or answer.json()["error"]["code"] in ("upload_in_progress", "offset_mismatch")
    assert sha256_of(b"".join(served_on_each.state.store.read(sha256_of(big), 0, len(big)))) == sha256_of(big)


def test_promise_02_a_stale_lease_ships_nothing(served_on_each: Served, shipper: Shipper) -> None:
    shipper.finish()
    sent = [
        shipper.put_blob(DATA),
        shipper.put_log(0, b"late\n"),
        shipper.post("metrics", seq=1, series={"loss": {"steps": [1], "values": [1.0], "times": [1.0]}}),
        shipper.hand_over("checkpoints", step=1),
        shipper.hand_over("artifacts"),
        shipper.post("events", type="remark", message="late"),
        shipper.http.get(f"{shipper.url}/blobs/{SHA}"),
        shipper.http.get(f"{shipper.url}/blobs/{SHA}/upload"),
    ]
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in sent] == [(409, "lease_lost")] * len(sent)
    assert not served_on_each.state.store.has(SHA)
    assert shipper.get("logs").json()["text"] == ""
    assert shipper.get("metrics").json()["series"] == []


def test_strangers_and_other_attempts_are_turned_away(served_on_each: Served, shipper: Shipper) -> None:
    other = Shipper(served_on_each)
    assert other.http.put(f"{shipper.url}/blobs/{SHA}", params={"offset": 0, "size": 1}, content=b"x").status_code == 409
    assert served_on_each.stranger().put(f"{shipper.url}/blobs/{SHA}", params={"offset": 0, "size": 1}, content=b"x").status_code == 401
    key = shipper.admin.put(f"{shipper.url}/blobs/{SHA}", params={"offset": 0, "size": 1}, content=b"x")
    assert key.status_code == 401


def test_an_attempt_downloads_what_it_resumes_from(served_on_each: Served, shipper: Shipper) -> None:
    assert shipper.hand_over("checkpoints", {"model": DATA}, step=5, is_best=True, metrics={"loss": 0.5}).json()["step"] == 5
    whole = shipper.http.get(f"{shipper.url}/blobs/{SHA}")
    assert whole.content == DATA
    part = shipper.http.get(f"{shipper.url}/blobs/{SHA}", headers={"Range": "bytes=1000000-"})
    assert (part.status_code, part.content) == (206, DATA[1_000_000:])
    listed = shipper.get("checkpoints").json()["data"]
    assert [(item["step"], item["num_bytes"], item["is_best"], item["metrics"]) for item in listed] == [(5, len(DATA), True, {"loss": 0.5})]
    other = Shipper(served_on_each)
    assert other.http.get(f"{other.url}/blobs/{SHA}").status_code == 404


def test_a_remark_reaches_the_journal_without_its_secrets(shipper: Shipper) -> None:
    assert shipper.post("events", type="checkpoint.corrupt", message="bad lease_" + "x" * 43).status_code == 204
    last = shipper.get("events").json()["data"][-1]
    assert (last["type"], last["message"], last["attempt"]) == ("checkpoint.corrupt", "bad lease_***", 1)


def test_a_remark_cannot_pass_for_what_the_service_writes(shipper: Shipper) -> None:
    for kind in ("job.succeeded", "attempt.finished"):
        assert shipper.post("events", type=kind, message="done").status_code == 422


def test_a_full_disk_is_507_and_nothing_is_half_visible(sqlite_url: str, tmp_path: Path) -> None:
    with serving(sqlite_url, tmp_path) as served:
        shipper = Shipper(served)
        shipper.put_blob(DATA[:1_000_000], size=len(DATA), sha256=SHA)
        with nearly_full(served):
            refused = shipper.put_blob(DATA[1_000_000:], offset=1_000_000, size=len(DATA), sha256=SHA)
            assert (refused.status_code, refused.json()["error"]["code"]) == (507, "storage_full")
            assert refused.headers["retry-after"]
            assert shipper.hand_over(files={}).status_code == 200  # the ledger goes on
        assert not served.state.store.has(SHA)
        assert shipper.put_blob(DATA[1_000_000:], offset=1_000_000, size=len(DATA), sha256=SHA).json()["is_complete"]


def test_promise_21_only_digests_name_objects(shipper: Shipper) -> None:
    for name in ("", "..%2f..%2fetc", "A" * 64, "0" * 63, "x" * 64, "%00" * 64):
        refused = shipper.http.put(f"{shipper.url}/blobs/{name}", params={"offset": 0, "size": 1}, content=b"x")
        assert refused.status_code in (404, 405, 422), name
        assert refused.headers["content-type"] == "application/problem+json"


def test_output_beyond_the_limit_of_one_call_is_refused(shipper: Shipper) -> None:
    assert shipper.put_log(0, b"x" * (256 * 1024)).json() == {"next_offset": 256 * 1024, "is_truncated": False}
    assert shipper.put_log(256 * 1024, b"x" * (256 * 1024 + 1)).status_code == 413
    wrong = shipper.put_log(5, b"x" * (256 * 1024))
    assert (wrong.status_code, wrong.json()["expected_offset"]) == (409, 256 * 1024)
    assert shipper.put_log(0, b"", stream="stdin").status_code == 422


BAD_BATCHES = (
    b"{",
    b"[]",
    b'{"seq":0}',
    b'{"seq":1,"series":{"loss":{"steps":[1],"values":[1],"times":[]}}}',
    b'{"seq":1,"series":{"loss":{"steps":["1"],"values":[1],"times":[1]}}}',
    b'{"seq":1,"extra":1}',
    b'{"seq":1,"series":{"":{"steps":[1],"values":[1],"times":[1]}}}',
    b'{"seq":99999999999,"series":{}}',
    b'{"seq":1,"series":{"loss":{"steps":[1],"values":[1],"times":[1e400]}}}',
)


def test_a_bad_batch_is_a_clear_problem_and_nothing_is_stored(shipper: Shipper) -> None:
    for body in BAD_BATCHES:
        refused = shipper.http.post(f"{shipper.url}/metrics", content=body, headers={"Content-Type": "application/json"})
        assert refused.status_code == 422, body
        assert refused.json()["errors"]
    assert shipper.get("metrics").json()["series"] == []


def test_a_nul_character_is_never_a_server_error(shipper: Shipper) -> None:
    for path in ("/v1/jobs/%00/metrics", "/v1/jobs/%00/logs", "/v1/jobs/x%00/archive", "/v1/jobs/%00/checkpoints"):
        assert shipper.admin.get(path).status_code in (404, 422), path
    for path in ("metrics?name=%00", "artifacts?after=%00", "checkpoints?after=%00", "artifacts/%00"):
        assert shipper.get(path).status_code in (200, 404, 422), path
    assert shipper.http.get(f"/v1/worker/attempts/%00/blobs/{SHA}").status_code in (409, 422)
    assert shipper.post("events", type="remark", message="a\0b").status_code == 204
    assert shipper.get("events").json()["data"][-1]["message"] == "a\ufffdb"

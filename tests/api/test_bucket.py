"""A server whose bytes lie in a bucket: sent to the store where it can be, through the server where not, verified either way."""

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.api.serving import Json, Served, serving
from tests.api.shipping import Shipper, sha256_of
from tests.bed.databases import Databases
from tests.bed.s3 import SECRET, S3Bucket
from tests.bed.servers import Servers
from tests.bed.waiting import until

DATA = os.urandom(2_300_000)
SHA = sha256_of(DATA)
FILES = {"model.pt2": DATA, "reports/Übersicht €.md": b"# hi"}


@pytest.fixture(scope="module")
def bucket(servers: Servers) -> S3Bucket:
    return servers.s3.new_bucket()


@pytest.fixture(scope="module")
def served(databases: Databases, bucket: S3Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("bucket")
    with serving(databases.fresh_url("sqlite", home), home, **bucket.settings()) as found:
        yield found


@pytest.fixture(scope="module")
def shipper(served: Served) -> Shipper:
    found = Shipper(served)
    assert found.hand_over(files=FILES).status_code == 200
    return found


def fetch(url: str, **headers: str) -> httpx2.Response:
    """As somebody who knows the URL and nothing else."""
    return httpx2.get(url, headers=headers, trust_env=False)


def place_for(shipper: Shipper, data: bytes) -> Json:
    """Where the server says that these bytes may be put."""
    status = shipper.http.get(f"{shipper.url}/blobs/{sha256_of(data)}/upload", params={"size": len(data)}).json()
    assert (status["offset"], status["is_complete"]) == (0, False)
    place: Json = status["direct"]
    return place


def put_at(place: Json, data: bytes) -> None:
    answer = httpx2.put(place["url"], content=data, headers={**place["headers"], "Content-Length": str(len(data))}, trust_env=False)
    assert answer.is_success


def adopt(shipper: Shipper, sha256: str, size: int) -> httpx2.Response:
    return shipper.http.post(f"{shipper.url}/blobs/{sha256}/adopt", params={"size": size})


def test_a_download_is_sent_to_the_store(shipper: Shipper, bucket: S3Bucket) -> None:
    answer = shipper.get("artifacts/reports/Übersicht €.md")
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (307, b"", "no-store")
    url = answer.headers["location"]
    assert url.startswith(f"{bucket.endpoint}/{bucket.name}/yard/sha256/")
    assert SECRET not in url
    found = fetch(url)
    assert found.content == b"# hi"
    assert found.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "filename*=UTF-8''%C3%9Cbersicht%20%E2%82%AC.md" in found.headers["content-disposition"]
    part = shipper.get("artifacts/model.pt2", headers={"Range": "bytes=100-199"})
    assert part.status_code == 307
    assert fetch(part.headers["location"], Range="bytes=100-199").content == DATA[100:200]


def test_whoever_does_not_want_to_be_sent_gets_the_bytes_as_ever(shipper: Shipper) -> None:
    path = "artifacts/model.pt2?direct=false"
    whole = shipper.get(path)
    assert (whole.status_code, whole.content, whole.headers["etag"]) == (200, DATA, f'"{SHA}"')
    part = shipper.get(path, headers={"Range": "bytes=1000000-"})
    assert (part.status_code, part.content) == (206, DATA[1_000_000:])
    assert shipper.get(path, headers={"Range": f"bytes={len(DATA)}-"}).status_code == 416


def test_conditions_and_descriptions_are_answered_by_the_server(shipper: Shipper) -> None:
    """The store knows none of our entity tags."""
    path = "artifacts/model.pt2"
    assert shipper.get(path, headers={"If-None-Match": f'"{SHA}"'}).status_code == 304
    resumed = shipper.get(path, headers={"Range": "bytes=2000000-", "If-Range": f'"{SHA}"'})
    assert (resumed.status_code, resumed.content) == (206, DATA[2_000_000:])
    described = shipper.admin.head(f"/v1/jobs/{shipper.job_id}/{path}")
    assert (described.status_code, described.headers["content-length"]) == (200, str(len(DATA)))


def test_promise_23_nobody_else_is_sent_anywhere(served: Served, shipper: Shipper) -> None:
    path = f"/v1/jobs/{shipper.job_id}/artifacts/model.pt2"
    assert served.client(project="other").get(path).status_code == 404
    assert served.stranger().get(path).status_code == 401


def test_archives_are_streamed_from_the_bucket(shipper: Shipper) -> None:
    tar = shipper.get("archive?format=tar")
    assert tar.headers["content-length"] == str(len(tar.content))
    with tarfile.open(fileobj=io.BytesIO(tar.content)) as opened:
        member = opened.extractfile(f"{shipper.job_id}/model.pt2")
        assert member is not None
        assert member.read() == DATA
    with zipfile.ZipFile(io.BytesIO(shipper.get("archive?format=zip").content)) as archive:
        assert archive.read(f"{shipper.job_id}/model.pt2") == DATA


def test_an_object_is_put_directly_and_then_counts(served: Served) -> None:
    shipper = Shipper(served)
    data = os.urandom(1_500_000)
    sha256 = sha256_of(data)
    put_at(place_for(shipper, data), data)
    listed = {"files": [{"path": "model", "size": len(data), "sha256": sha256}]}
    assert shipper.post("artifacts", manifest=listed).status_code == 409  # put, but not verified
    assert adopt(shipper, sha256, len(data)).json() == {"offset": len(data), "is_complete": True}
    assert adopt(shipper, sha256, len(data)).json() == {"offset": len(data), "is_complete": True}
    assert shipper.post("artifacts", manifest=listed).status_code == 200
    assert shipper.get("artifacts/model?direct=false").content == data
    sent = shipper.http.get(f"{shipper.url}/blobs/{sha256}")
    assert sent.status_code == 404  # not of a checkpoint
    assert shipper.hand_over("checkpoints", {"model": data}, step=1).status_code == 200
    sent = shipper.http.get(f"{shipper.url}/blobs/{sha256}")
    assert (sent.status_code, fetch(sent.headers["location"]).content) == (307, data)
    assert shipper.http.get(f"{shipper.url}/blobs/{sha256}?direct=false").content == data


@pytest.mark.parametrize("wrong", ["other bytes", "fewer", "more"])
def test_promise_19_what_is_put_with_another_digest_is_never_accepted(served: Served, bucket: S3Bucket, wrong: str) -> None:
    shipper = Shipper(served)
    data = os.urandom(100_000)
    place = place_for(shipper, data)
    put_at(place, {"other bytes": data[::-1], "fewer": data[:-1], "more": data + b"x"}[wrong])
    refused = adopt(shipper, sha256_of(data), len(data))
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "digest_mismatch")
    assert not served.state.store.has(sha256_of(data))
    assert not [key for key in bucket.names() if key.startswith("staging/")]
    assert adopt(shipper, sha256_of(data), len(data)).json()["missing"] == [sha256_of(data)]


def test_a_direct_upload_belongs_to_its_attempt(served: Served) -> None:
    """Another attempt cannot have it counted, and a lease that has passed on gets no URL and no answer."""
    first, second = Shipper(served), Shipper(served)
    data = os.urandom(50_000)
    put_at(place_for(first, data), data)
    assert adopt(second, sha256_of(data), len(data)).json()["error"]["code"] == "blob_missing"
    first.finish()
    late = [adopt(first, sha256_of(data), len(data)), first.http.get(f"{first.url}/blobs/{SHA}/upload?size=5")]
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in late] == [(409, "lease_lost")] * 2


def test_an_upload_that_has_begun_goes_on_through_the_server(served: Served) -> None:
    shipper = Shipper(served)
    data = os.urandom(300_000)
    assert shipper.put_blob(data[:100], size=len(data), sha256=sha256_of(data)).json()["offset"] == 100
    status = shipper.http.get(f"{shipper.url}/blobs/{sha256_of(data)}/upload", params={"size": len(data)}).json()
    assert status == {"offset": 100, "is_complete": False}
    assert shipper.put_blob(data[100:], offset=100, size=len(data), sha256=sha256_of(data)).json()["is_complete"]


def test_a_server_may_keep_the_bytes_to_itself(sqlite_url: str, servers: Servers, tmp_path: Path) -> None:
    with serving(sqlite_url, tmp_path, **servers.s3.new_bucket().settings(s3_direct=False)) as served:
        shipper = Shipper(served)
        status = shipper.http.get(f"{shipper.url}/blobs/{SHA}/upload", params={"size": len(DATA)}).json()
        assert status == {"offset": 0, "is_complete": False, "direct": None}
        assert adopt(shipper, SHA, len(DATA)).json()["error"]["code"] == "blob_missing"
        assert shipper.hand_over(files=FILES).status_code == 200
        assert shipper.get("artifacts/model.pt2").content == DATA


def test_the_logs_of_an_ended_attempt_move_to_the_bucket(served: Served, bucket: S3Bucket) -> None:
    shipper = Shipper(served)
    shipper.put_log(0, b"hello from rank 0\n")
    shipper.finish()
    digest = sha256_of(b"hello from rank 0\n")
    until(lambda: any(name.endswith(digest) for name in bucket.names()), within=20, what="the output is one object")
    assert shipper.get("logs").json()["text"] == "hello from rank 0\n"


def test_a_lost_object_is_a_problem_and_not_an_empty_file(served: Served) -> None:
    shipper = Shipper(served)
    shipper.hand_over(files={"lost": b"lost bytes"})
    assert served.state.store.delete(sha256_of(b"lost bytes"), older_than=4e9)
    answer = shipper.get("artifacts/lost?direct=false")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert fetch(shipper.get("artifacts/lost").headers["location"]).is_client_error

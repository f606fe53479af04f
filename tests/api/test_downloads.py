"""Downloads over HTTP: whole, in part, not at all, as an archive; with digests that can be checked and names that cannot escape."""

import hashlib
import http.client
import io
import os
import tarfile
import time
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.serving import Served, serving
from tests.api.shipping import Shipper, sha256_of
from tests.bed.databases import Databases

MODEL = os.urandom(2_500_000)
FILES = {"model.pt2": MODEL, "reports/metrics.json": b'{"accuracy":0.98}', "leer": b"", "Übersicht €.md": b"# hi"}
ETAG = f'"{sha256_of(MODEL)}"'


def digest_field(data: bytes) -> str:
    return f"sha-256=:{b64encode(hashlib.sha256(data).digest()).decode()}:"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def served(databases: Databases, home: Path) -> Iterator[Served]:
    """One server for the whole file: nothing here changes it."""
    with serving(databases.fresh_url("sqlite", home), home) as found:
        yield found


@pytest.fixture(scope="module")
def shipper(served: Served) -> Shipper:
    found = Shipper(served)
    assert found.hand_over(files=FILES).status_code == 200
    return found


def test_promise_10_a_download_is_whole_and_carries_its_digest(shipper: Shipper) -> None:
    answer = shipper.get("artifacts/model.pt2")
    assert (answer.status_code, answer.content) == (200, MODEL)
    headers = answer.headers
    assert headers["etag"] == ETAG
    assert headers["repr-digest"] == headers["content-digest"] == digest_field(MODEL)
    assert headers["content-length"] == str(len(MODEL))
    assert headers["accept-ranges"] == "bytes"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith('attachment; filename="model.pt2"')


def test_the_list_names_every_file_with_its_digest(shipper: Shipper) -> None:
    listed = shipper.get("artifacts").json()
    assert [(item["path"], item["size"], item["sha256"]) for item in listed["data"]] == [
        (path, len(data), sha256_of(data)) for path, data in sorted(FILES.items())
    ]
    assert shipper.get("artifacts/reports/metrics.json").headers["content-type"] == "application/json"
    foreign = shipper.get("artifacts/Übersicht €.md")
    assert foreign.content == b"# hi"
    assert "filename*=UTF-8''%C3%9Cbersicht%20%E2%82%AC.md" in foreign.headers["content-disposition"]
    assert shipper.get("artifacts/leer").content == b""


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-", 206, 0, len(MODEL)),
        ("bytes=-500", 206, len(MODEL) - 500, len(MODEL)),
        ("bytes=10-10", 206, 10, 11),
        ("bytes=1048570-1048590", 206, 1048570, 1048591),
        ("bytes=2000000-99999999", 206, 2_000_000, len(MODEL)),
        ("bytes=5-2", 200, 0, len(MODEL)),
        ("bytes=0-1,4-5", 200, 0, len(MODEL)),
        ("bytes=" + ",".join(["0-0"] * 5_000), 200, 0, len(MODEL)),
        (f"bytes={len(MODEL)}-", 416, 0, 0),
    ],
)
def test_a_range_is_answered_with_exactly_those_bytes(shipper: Shipper, asked: str, status: int, start: int, end: int) -> None:
    answer = shipper.get("artifacts/model.pt2", headers={"Range": asked})
    assert answer.status_code == status
    if status != 416:
        assert answer.content == MODEL[start:end]
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(MODEL)}"
        assert answer.headers["content-digest"] == digest_field(MODEL[start:end])
        assert answer.headers["repr-digest"] == digest_field(MODEL)
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{len(MODEL)}"
        assert answer.json()["error"]["code"] == "range_not_satisfiable"


def test_conditions_are_honoured(shipper: Shipper) -> None:
    path = "artifacts/model.pt2"
    for known in (ETAG, f'"x", {ETAG}', "*"):
        answer = shipper.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", ETAG)
    assert shipper.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    assert shipper.get(path, headers={"Range": "bytes=1-2", "If-Range": ETAG}).status_code == 206
    assert shipper.get(path, headers={"Range": "bytes=1-2", "If-Range": '"x"'}).status_code == 200


def test_head_describes_without_a_body(shipper: Shipper) -> None:
    answer = shipper.admin.head(f"/v1/jobs/{shipper.job_id}/artifacts/model.pt2")
    assert (answer.status_code, answer.content) == (200, b"")
    assert (answer.headers["content-length"], answer.headers["etag"]) == (str(len(MODEL)), ETAG)
    assert answer.headers["repr-digest"] == digest_field(MODEL)


def test_an_interrupted_download_is_resumed(shipper: Shipper) -> None:
    got = b""
    with shipper.admin.stream("GET", f"/v1/jobs/{shipper.job_id}/artifacts/model.pt2") as answer:
        for chunk in answer.iter_bytes(100_000):
            got += chunk
            if len(got) >= 700_000:
                break
    rest = shipper.get("artifacts/model.pt2", headers={"Range": f"bytes={len(got)}-", "If-Range": ETAG})
    assert rest.status_code == 206
    assert got + rest.content == MODEL


def test_an_archive_is_a_tar_of_known_length(shipper: Shipper) -> None:
    answer = shipper.get("archive")
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["content-disposition"] == f'attachment; filename="{shipper.job_id}.tar"'
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        members = {member.name: member for member in tar}
        assert sorted(members) == sorted(f"{shipper.job_id}/{path}" for path in FILES)
        for path, data in FILES.items():
            member = tar.extractfile(f"{shipper.job_id}/{path}")
            assert member is not None
            assert member.read() == data
    assert all(member.isfile() and member.mtime == 0 and member.mode == 0o644 for member in members.values())
    again = shipper.get("archive")
    assert (again.content, again.headers["etag"]) == (answer.content, answer.headers["etag"])
    assert shipper.get("archive", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_an_archive_carries_names_that_are_long_or_not_ascii(served: Served) -> None:
    shipper = Shipper(served)
    path = "/".join(["ordner-ü" * 10] * 5)
    shipper.hand_over(files={path: b"deep"})
    answer = shipper.get("archive")
    assert answer.headers["content-length"] == str(len(answer.content))
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        assert tar.getnames() == [f"{shipper.job_id}/{path}"]


@pytest.mark.parametrize("limit", [zipfile.ZIP64_LIMIT, 1_000])
def test_an_archive_is_a_zip_of_known_length(shipper: Shipper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """With the low limit every large entry, every offset behind it and the end need their zip64 records."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    answer = shipper.get("archive?format=zip")
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{shipper.job_id}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(f"{shipper.job_id}/{path}" for path in FILES)
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        for path, data in FILES.items():
            assert archive.read(f"{shipper.job_id}/{path}") == data
    again = shipper.get("archive?format=zip", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert shipper.get("archive?format=tar").headers["etag"] != answer.headers["etag"]


@pytest.mark.parametrize("limit", [3, 3_000])
def test_a_zip_tells_its_length_when_there_are_too_many_files_for_the_old_format(
    served: Served, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", limit)
    shipper = Shipper(served)
    shipper.hand_over(files={f"part-{number}": str(number).encode() for number in range(5)})
    answer = shipper.get("archive?format=zip")
    assert answer.headers["content-length"] == str(len(answer.content))
    assert (b"PK\x06\x06" in answer.content) == (limit == 3)


def test_an_archive_of_another_format_is_refused(shipper: Shipper) -> None:
    refused = shipper.get("archive?format=rar")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/query/format")


def test_a_job_without_artifacts_has_no_archive(served: Served) -> None:
    shipper = Shipper(served)
    assert shipper.get("archive").status_code == 404
    assert shipper.get("artifacts").json()["data"] == []


@pytest.mark.parametrize(
    "path",
    [
        "../canary",
        "..%2f..%2fcanary",
        "%2e%2e/%2e%2e/canary",
        "%2e%2e%2f%2e%2e%2fcanary",
        "reports/../model.pt2",
        "reports//metrics.json",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "reports%5cmetrics.json",
        "model.pt2%00",
        "%00",
        "%ff%fe",
        "model.pt2/",
        "a" * 10_000,
        "%E2%80%AEmodel.pt2",
    ],
)
def test_promise_21_no_name_reads_outside_its_job(served: Served, shipper: Shipper, home: Path, path: str) -> None:
    for place in (home, home / "bytes", home / "bytes" / "sha256"):
        (place / "canary").write_text("canary")
    connection = http.client.HTTPConnection("127.0.0.1", int(served.url.rpartition(":")[2]), timeout=10)
    connection.putrequest("GET", f"/v1/jobs/{shipper.job_id}/artifacts/{path}", skip_host=False)
    connection.putheader("Authorization", shipper.admin.headers["Authorization"])
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status in (400, 404, 422), body
    assert b"canary" not in body.replace(path.encode(), b"")
    assert b"root:" not in body


def test_promise_23_another_project_sees_no_artifact(served: Served, shipper: Shipper) -> None:
    stranger = served.client(project="other")
    for path in ("artifacts", "artifacts/model.pt2", "archive", "checkpoints", "metrics", "logs"):
        foreign = stranger.get(f"/v1/jobs/{shipper.job_id}/{path}")
        absent = stranger.get(f"/v1/jobs/job_{'0' * 26}/{path}")
        assert (foreign.status_code, absent.status_code) == (404, 404)
        assert {**foreign.json(), "instance": ""} == {**absent.json(), "instance": ""}


def test_a_request_for_very_many_ranges_costs_nothing(shipper: Shipper) -> None:
    started = time.process_time()
    shipper.get("artifacts/leer", headers={"Range": "bytes=" + ",".join(f"{n}-{n}" for n in range(5_000))})
    assert time.process_time() - started < 0.5


def test_a_lost_object_is_a_problem_and_not_an_empty_file(served: Served) -> None:
    shipper = Shipper(served)
    shipper.hand_over(files={"lost": b"lost"})
    served.state.store.delete(sha256_of(b"lost"), older_than=4e9)
    answer = shipper.get("artifacts/lost")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")

"""Datasets over HTTP: made, filled, validated, read by jobs, deleted, and nobody else's."""

import os
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from core.wire.keys import Scope
from tests.api.pushing import Pusher
from tests.api.serving import Served, serving
from tests.api.shipping import sha256_of
from tests.bed.waiting import until

FILES = {"cat/1.png": b"one", "dog/2.png": b"two"}
TRAIN = {"recipe": "image-classification", "dataset": "birds@latest"}


@pytest.fixture
def pusher(served: Served) -> Pusher:
    pusher = Pusher(served)
    pusher.create()
    return pusher


def problems(answer: Any, status: int = 422) -> list[tuple[str, str]]:
    assert answer.status_code == status, answer.text
    return [(item["pointer"], item["code"]) for item in answer.json()["errors"]]


def test_a_dataset_is_made_filled_validated_and_trained_on(pusher: Pusher) -> None:
    added = pusher.add(FILES)
    assert added.status_code == 201, added.text
    assert (added.json()["number"], added.json()["state"]) == (1, "validating")
    assert pusher.add(FILES).status_code == 200, "the same files are the same version"
    claim = pusher.validate()
    assert claim["spec"]["recipe"] == "dataset-validation"
    assert [file["path"] for file in claim["datasets"]["training"]["files"]] == sorted(FILES)
    assert pusher.version()["state"] == "ready"
    submitted = pusher.http.post("/v1/jobs", json=TRAIN)
    assert submitted.json()["spec"]["dataset"] == {"name": "birds", "version": 1}
    refused = pusher.http.delete("/v1/datasets/birds")
    assert (refused.status_code, submitted.json()["id"] in refused.json()["detail"]) == (409, True)
    pusher.http.post(f"/v1/jobs/{submitted.json()['id']}/cancel")
    assert pusher.http.delete("/v1/datasets/birds/versions/1").status_code == 204
    assert pusher.http.delete("/v1/datasets/birds").status_code == 204
    assert pusher.http.get("/v1/datasets/birds").status_code == 404
    assert pusher.http.get("/v1/datasets").json()["data"] == []


def test_a_dry_run_says_which_version_is_meant(pusher: Pusher) -> None:
    assert problems(pusher.http.post("/v1/jobs/validate", json=TRAIN)) == [("/dataset", "not_found")]
    pusher.add(FILES)
    pusher.validate()
    report = pusher.http.post("/v1/jobs/validate", json=TRAIN).json()
    assert report["spec"]["dataset"] == {"name": "birds", "version": 1}


def test_the_same_idempotency_key_makes_one_dataset_and_one_version(pusher: Pusher) -> None:
    once = {"Idempotency-Key": "once"}
    first = pusher.http.post("/v1/datasets", json={"name": "fish"}, headers=once)
    again = pusher.http.post("/v1/datasets", json={"name": "fish"}, headers=once)
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert pusher.http.post("/v1/datasets", json={"name": "fish"}).status_code == 409
    pusher.put("a")
    assert pusher.http.post("/v1/datasets/birds/commit", headers=once).json()["number"] == 1
    assert pusher.http.post("/v1/datasets/birds/commit", headers=once).json()["number"] == 1
    assert pusher.commit().status_code == 409


def test_another_project_sees_and_uses_nothing(pusher: Pusher, served: Served) -> None:
    pusher.add(FILES)
    pusher.validate()
    theirs = Pusher(served, project="other")
    paths = ["", "/versions", "/versions/1", "/versions/latest", "/versions/1/files", "/versions/1/files/cat/1.png", "/versions/1/profile"]
    for path in paths:
        assert theirs.http.get(f"/v1/datasets/birds{path}").status_code == 404, path
    assert theirs.http.delete("/v1/datasets/birds").status_code == 404
    assert theirs.http.delete("/v1/datasets/birds/versions/1").status_code == 404
    assert theirs.put("a").status_code == 404
    assert theirs.commit().status_code == 404
    assert problems(theirs.http.post("/v1/jobs", json=TRAIN)) == [("/dataset", "not_found")]
    theirs.create()
    known_digests = theirs.http.post("/v1/datasets/birds/versions", json={"files": theirs.listed(FILES)})
    assert problems(known_digests) == [("/files/0", "not_uploaded"), ("/files/1", "not_uploaded")]
    assert theirs.http.post("/v1/datasets/birds/prepare", json={"steps": [{"do": "drop_duplicates"}]}).status_code == 404


def test_who_may_only_read_changes_nothing(pusher: Pusher, served: Served) -> None:
    reader = served.client(Scope.READ)
    assert reader.get("/v1/datasets/birds").status_code == 200
    assert reader.post("/v1/datasets", json={"name": "fish"}).status_code == 403
    assert reader.put("/v1/datasets/birds/files/a", content=b"x").status_code == 403
    assert reader.delete("/v1/datasets/birds").status_code == 403
    assert served.stranger().get("/v1/datasets/birds").status_code == 401


@pytest.mark.parametrize(
    "path",
    ["../a", "a/../b", "/a", "a//b", "a/", "a\\b", "a\tb", "a\u202eb", "e\u0301", "x" * 256, "/".join("d" * 33), ".."],
)
def test_promise_38_names_that_could_mean_anything_else_are_refused(pusher: Pusher, path: str, served: Served) -> None:
    encoded = "".join(f"%{byte:02x}" for byte in path.encode())
    answer = pusher.http.put(f"/v1/datasets/birds/files/{encoded}", content=b"x")
    assert answer.status_code in (404, 422), answer.text
    pusher.send(b"x")
    listed = [{"path": path, "size": 1, "sha256": sha256_of(b"x")}]
    assert problems(pusher.http.post("/v1/datasets/birds/versions", json={"files": listed}))[0][0] == "/files/0/path"
    assert pusher.http.get(f"/v1/datasets/birds/versions/latest/files/{encoded}").status_code in (404, 422)
    assert pusher.http.get("/v1/datasets/birds").json()["versions"] == []


def test_every_bad_file_of_a_list_is_told_with_its_place(pusher: Pusher) -> None:
    files = [{"path": "a", "size": 1, "sha256": "0" * 63}, {"path": "b", "size": -1, "sha256": "0" * 64}, {"path": "..", "size": 1}]
    found = problems(pusher.http.post("/v1/datasets/birds/versions", json={"files": files}))
    assert {pointer for pointer, _ in found} == {"/files/0/sha256", "/files/1/size", "/files/2/path", "/files/2/sha256"}
    for body in ({}, {"files": [], "from_path": "/x"}, {"files": []}, {"from_path": "relative"}):
        assert pusher.http.post("/v1/datasets/birds/versions", json=body).status_code == 422
    pusher.send(b"four")
    wrong_size = [{"path": "a", "size": 5, "sha256": sha256_of(b"four")}]
    assert problems(pusher.http.post("/v1/datasets/birds/versions", json={"files": wrong_size}))[0][0] == "/files/0/size"


def test_files_are_streamed_one_by_one_listed_and_downloaded(pusher: Pusher) -> None:
    data = os.urandom(5 << 20)
    sent = pusher.put("train/große Datei.bin", data)
    assert sent.json() == {
        "object": "dataset_file",
        "dataset": "birds",
        "version": 1,
        "path": "train/große Datei.bin",
        "size": len(data),
        "sha256": sha256_of(data),
    }
    pusher.put("train/b.txt", b"")
    assert pusher.commit().json()["num_bytes"] == len(data)
    listed = pusher.http.get("/v1/datasets/birds/versions/1/files").json()["data"]
    assert [file["path"] for file in listed] == ["train/b.txt", "train/große Datei.bin"]
    url = "/v1/datasets/birds/versions/1/files/train/große Datei.bin"
    whole = pusher.http.get(url)
    assert (whole.content, whole.headers["etag"]) == (data, f'"{sha256_of(data)}"')
    part = pusher.http.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, data[10:20])
    assert pusher.http.head(url).headers["content-length"] == str(len(data))
    assert pusher.http.get("/v1/datasets/birds/versions/1/files/train").status_code == 404


def test_a_digest_that_was_announced_must_be_that_of_the_bytes(pusher: Pusher) -> None:
    def digest(data: bytes) -> dict[str, str]:
        return {"Repr-Digest": f"md5=:AAAA:, sha-256=:{b64encode(sha256(data).digest()).decode()}:"}

    wrong = pusher.put("a", b"these bytes", headers=digest(b"other bytes"))
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "digest_mismatch")
    assert pusher.http.get("/v1/datasets/birds").json()["versions"] == [], "nothing is visible"
    assert pusher.put("a", b"these bytes", headers=digest(b"these bytes")).status_code == 200


def test_what_collides_in_the_open_version_is_refused(pusher: Pusher) -> None:
    assert pusher.put("Cat/1.png").status_code == 200
    assert problems(pusher.put("cat/1.PNG")) == [("/path/path", "duplicate")]
    assert problems(pusher.put("cat/1.png/2.png")) == [("/path/path", "duplicate")]
    assert pusher.put("Cat/1.png", b"new").status_code == 200


def test_profile_and_report_are_shown_and_the_report_can_run_nothing(pusher: Pusher) -> None:
    pusher.add(FILES)
    assert pusher.http.get("/v1/datasets/birds/versions/1/profile").status_code == 404
    pusher.validate(valid=False, report="<script>alert(1)</script>", findings=[{"file": "a", "message": "broken"}])
    version = pusher.version(1)
    assert (version["state"], version["is_terminal"], version["message"]) == ("invalid", True, "not valid, see the profile")
    profile = pusher.http.get("/v1/datasets/birds/versions/1/profile")
    assert (profile.headers["content-type"], profile.json()["findings"][0]["message"]) == ("application/json", "broken")
    report = pusher.http.get("/v1/datasets/birds/versions/1/report")
    assert report.headers["content-type"] == "text/html; charset=utf-8"
    [policy] = report.headers.get_list("content-security-policy")
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script" not in policy
    assert report.headers["x-content-type-options"] == "nosniff"
    assert pusher.http.get("/v1/datasets/birds").headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_a_validation_cancelled_before_it_ran_settles_by_itself(pusher: Pusher) -> None:
    from_add = pusher.add(FILES).json()
    pusher.http.post(f"/v1/jobs/{from_add['job_id']}/cancel")
    until(lambda: pusher.version(1)["state"] == "invalid", within=10, what="the maintenance settles it")
    assert pusher.version(1)["message"] == "its validation was cancelled"


def test_steps_that_do_not_fit_are_refused_with_their_place(pusher: Pusher) -> None:
    pusher.add(FILES)
    pusher.validate()
    bad = {"steps": [{"do": "drop_duplicates"}, {"do": "fly"}], "seed": -1}
    assert problems(pusher.http.post("/v1/datasets/birds/prepare", json=bad))[0][0] == "/seed"
    bad["seed"] = 1
    assert problems(pusher.http.post("/v1/datasets/birds/prepare", json=bad))[0][0].startswith("/steps/1")
    assert [version["number"] for version in pusher.http.get("/v1/datasets/birds").json()["versions"]] == [1]
    made = pusher.http.post("/v1/datasets/birds/prepare", json={"steps": [{"do": "drop_duplicates"}], "seed": 1, "as": "copied"})
    assert (made.status_code, made.json()["dataset"], made.json()["state"]) == (201, "copied", "uploading")


PROFILE = {"format": "csv", "task": "tabular", "is_task_told": False, "num_rows": 2, "splits": {"all": 2}}
PROFILE |= {"num_files": 1, "num_bytes": 9, "num_findings": 0, "columns_used": {"target": "b"}}
PROFILE["columns"] = [{"name": name, "type": "number", "num_missing": 0, "num_unique": 2} for name in ("a", "b")]
UNFIT = [
    {"do": "map_columns", "rename": {"a": "c"}},
    {"do": "normalise", "columns": ["a"]},
    {"do": "augment", "images": {"flip": True}},
    {"do": "augment", "audio": {"speed": 0.1}},
]


@pytest.mark.parametrize("asks", ["/v1/datasets/birds/prepare", "/v1/jobs", "/v1/jobs/validate"])
def test_steps_that_mean_nothing_to_what_was_found_are_refused_before_there_is_a_job(pusher: Pusher, asks: str) -> None:
    pusher.add({"rows.csv": b"a,b\n1,2\n"})
    pusher.validate(**PROFILE)
    start = "" if asks.endswith("prepare") else "/data"
    unfit = {"steps": UNFIT} if not start else {"recipe": "dataset-preparation", "dataset": "birds", "data": {"steps": UNFIT}}
    refused = pusher.http.post(asks, json=unfit)
    assert problems(refused) == [(f"{start}/steps/{number}", "not_applicable") for number in (1, 2, 3)]
    assert "there is no column 'a'; the columns are 'c', 'b'" in refused.json()["errors"][0]["message"]
    assert [version["number"] for version in pusher.http.get("/v1/datasets/birds").json()["versions"]] == [1]
    assert [job["spec"]["recipe"] for job in pusher.http.get("/v1/jobs").json()["data"]] == ["dataset-validation"]


def test_what_is_invalid_may_be_mended_and_not_trained_on(pusher: Pusher) -> None:
    pusher.add({"rows.csv": b"a,b\n1,\xe9\n"})
    pusher.validate(valid=False, **PROFILE)
    assert problems(pusher.http.post("/v1/jobs", json={**TRAIN, "dataset": "birds@1"})) == [("/dataset", "not_ready")]
    mending = {"version": 1, "steps": [{"do": "fix_encoding"}, {"do": "drop_missing", "columns": ["whatever it is called then"]}]}
    made = pusher.http.post("/v1/datasets/birds/prepare", json=mending)
    assert (made.status_code, made.json()["number"], made.json()["lineage"]["version"]) == (201, 2, 1)


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    (folder / "set" / "cat").mkdir(parents=True)
    (folder / "set" / "cat" / "1.png").write_bytes(b"one")
    (folder / "set" / ".DS_Store").write_bytes(b"junk")
    (folder / "rows.csv").write_bytes(b"a,b\n")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"canary")
    return folder


@pytest.fixture
def importer(sqlite_url: str, tmp_path: Path, roots: Path) -> Iterator[Pusher]:
    with serving(sqlite_url, tmp_path, dataset_roots=(roots,)) as served:
        pusher = Pusher(served)
        pusher.create()
        yield pusher


def take(pusher: Pusher, path: Path) -> Any:
    return pusher.http.post("/v1/datasets/birds/versions", json={"from_path": str(path)})


def test_what_lies_where_the_operator_allows_is_copied(importer: Pusher, roots: Path) -> None:
    (roots / "set" / "dog.png").symlink_to(roots / "rows.csv")
    answer = take(importer, roots / "set")
    assert answer.status_code == 201, answer.text
    listed = importer.http.get("/v1/datasets/birds/versions/1/files").json()["data"]
    assert [(file["path"], file["size"]) for file in listed] == [("cat/1.png", 3), ("dog.png", 4)]
    assert take(importer, roots / "rows.csv").json()["num_files"] == 1


def test_nothing_outside_the_operator_s_folders_is_read(importer: Pusher, roots: Path, tmp_path: Path) -> None:
    (roots / "set" / "key").symlink_to(tmp_path / "secret" / "key")
    (roots / "folder").mkdir()
    (roots / "folder" / "up").symlink_to(tmp_path / "secret")
    (roots / "pipes").mkdir()
    os.mkfifo(roots / "pipes" / "p")
    (roots / "empty").mkdir()
    (roots / "bytes").mkdir()
    Path(os.fsdecode(os.fsencode(roots / "bytes") + b"/\xff")).write_bytes(b"x")
    refused = [tmp_path / "secret", tmp_path / "nothing", roots / ".." / "secret" / "key", roots / "folder" / "up", Path("/etc/hostname")]
    refused += [roots / name for name in ("set", "folder", "pipes", "empty", "bytes")]
    for path in refused:
        assert problems(take(importer, path))[0][0] == "/from_path", path
    said = {take(importer, path).json()["detail"] for path in (tmp_path / "secret", tmp_path / "nothing")}
    assert len(said) == 1, "what is there and what is not cannot be told apart"
    assert importer.http.get("/v1/datasets/birds").json()["versions"] == []
    stored = [path for path in (tmp_path / "bytes").rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    assert stored == []


def test_without_allowed_folders_nothing_is_copied(pusher: Pusher, roots: Path) -> None:
    assert problems(take(pusher, roots / "set"))[0][0] == "/from_path"

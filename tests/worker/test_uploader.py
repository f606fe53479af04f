"""Uploads against a real server: cut, resumed, wrong, pruned meanwhile, and checkpoints behind training."""

import json
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.manifest import Manifest, seal
from core.wire.worker import ArtifactsRequest
from tests.bed.waiting import until
from tests.worker.leased import LeasedAttempt
from worker.checkpoint_shipper import CheckpointShipper
from worker.patience import GaveUp
from worker.uploader import OPEN_AT_ONCE, FileChanged, OpenFiles, Uploader

MIB = 1 << 20


def sealed(folder: Path, meta: dict[str, Any] | None = None, **files: bytes) -> Manifest:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return seal(folder, meta or {})


def stored(attempt: LeasedAttempt) -> list[int]:
    return [checkpoint["step"] for checkpoint in attempt.get("checkpoints")["data"]]


@contextmanager
def behind_training(attempt: LeasedAttempt) -> Iterator[CheckpointShipper]:
    shipper = CheckpointShipper(
        attempt.api, attempt.patience, run_dir=attempt.run_dir, lose=lambda _: attempt.given_up.set(), failed=lambda: None
    )
    shipper.start()
    yield shipper
    shipper.close(wants_last=False)


def test_promise_19_an_upload_goes_on_where_the_connection_broke(attempt: LeasedAttempt) -> None:
    data = os.urandom(24 * MIB)
    manifest = sealed(attempt.run_dir.artifacts, model=data)
    uploader = Uploader(attempt.api, attempt.patience, threading.Event())
    with OpenFiles(attempt.run_dir.artifacts, manifest) as files:
        uploading = threading.Thread(target=uploader.upload, args=(files,))
        attempt.proxy.weather = type(attempt.proxy.weather)(bytes_per_second=20 * MIB)
        uploading.start()
        sha256 = manifest.files[0].sha256
        until(lambda: attempt.proxy.num_connections > 0, within=10, what="the upload has begun")
        threading.Event().wait(0.5)
        attempt.proxy.cut()
        uploading.join(60)
    assert not uploading.is_alive()
    assert attempt.proxy.num_connections >= 2
    assert attempt.api.uploaded(sha256).is_complete
    attempt.api.add_artifacts(ArtifactsRequest(manifest=manifest))
    assert attempt.admin.get(f"/v1/jobs/{attempt.job_id}/artifacts/model").content == data


def test_what_the_store_has_is_not_sent_again(attempt: LeasedAttempt) -> None:
    data = os.urandom(2 * MIB)
    manifest = sealed(attempt.run_dir.artifacts, a=data, b=data, c=b"", d=b"small")
    uploader = Uploader(attempt.api, attempt.patience, threading.Event())
    with OpenFiles(attempt.run_dir.artifacts, manifest) as files:
        uploader.upload(files)
    for path in attempt.run_dir.artifacts.iterdir():
        path.write_bytes(b"\0" * path.stat().st_size)  # would be refused if it were sent
    with OpenFiles(attempt.run_dir.artifacts, manifest) as files:
        uploader.upload(files)
    attempt.api.add_artifacts(ArtifactsRequest(manifest=manifest))


def test_promise_11_bytes_that_differ_from_their_manifest_are_never_stored(attempt: LeasedAttempt) -> None:
    manifest = sealed(attempt.run_dir.artifacts, model=b"right")
    (attempt.run_dir.artifacts / "model").write_bytes(b"wrong")
    with OpenFiles(attempt.run_dir.artifacts, manifest) as files, pytest.raises(FileChanged):
        Uploader(attempt.api, attempt.patience, threading.Event()).upload(files)


def test_a_file_that_is_shorter_than_its_manifest_says_is_refused_here(attempt: LeasedAttempt) -> None:
    manifest = sealed(attempt.run_dir.artifacts, model=b"right and long")
    (attempt.run_dir.artifacts / "model").write_bytes(b"right")
    with OpenFiles(attempt.run_dir.artifacts, manifest) as files, pytest.raises(FileChanged):
        Uploader(attempt.api, attempt.patience, threading.Event()).upload(files)


def test_an_upload_can_be_broken_off(attempt: LeasedAttempt) -> None:
    stopped = threading.Event()
    stopped.set()
    manifest = sealed(attempt.run_dir.artifacts, model=b"data")
    with OpenFiles(attempt.run_dir.artifacts, manifest) as files, pytest.raises(GaveUp):
        Uploader(attempt.api, attempt.patience, stopped).upload(files)


@pytest.fixture
def few_more_open_files() -> Iterator[int]:
    """How many files this process may open beside those that it has."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    num_more = OPEN_AT_ONCE + 50
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + num_more, most))
    yield num_more
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def test_a_package_may_have_more_files_than_a_process_may_open(attempt: LeasedAttempt, few_more_open_files: int) -> None:
    manifest = sealed(attempt.run_dir.artifacts, **{f"{n}.txt": str(n).encode() for n in range(few_more_open_files)})
    with OpenFiles(attempt.run_dir.artifacts, manifest) as files:
        Uploader(attempt.api, attempt.patience, threading.Event()).upload(files)
    attempt.api.add_artifacts(ArtifactsRequest(manifest=manifest))


def test_a_checkpoint_pruned_while_it_is_uploaded_arrives_whole(attempt: LeasedAttempt) -> None:
    data = os.urandom(MIB)
    folder = attempt.run_dir.checkpoint(5)
    manifest = sealed(folder, model=data)
    with OpenFiles(folder, manifest) as files:
        for path in folder.iterdir():
            path.unlink()
        Uploader(attempt.api, attempt.patience, threading.Event()).upload(files)
    assert attempt.api.uploaded(manifest.files[0].sha256).is_complete


def test_a_sealed_checkpoint_is_stored_behind_training(attempt: LeasedAttempt) -> None:
    sealed(attempt.run_dir.checkpoint(5), {"best_step": 5}, model=b"five")
    with behind_training(attempt) as shipper:
        shipper.seen()
        until(lambda: stored(attempt) == [5], within=10, what="stored")
    assert attempt.get("checkpoints")["data"][0]["is_best"] is True


def test_the_newest_wins_and_an_older_one_is_not_begun(attempt: LeasedAttempt) -> None:
    for step in (1, 2, 3):
        sealed(attempt.run_dir.checkpoint(step), model=str(step).encode())
    with behind_training(attempt) as shipper:
        shipper.seen()
        until(lambda: stored(attempt) != [], within=10, what="stored")
        sealed(attempt.run_dir.checkpoint(4), model=b"4")
        shipper.seen()
        until(lambda: 4 in stored(attempt), within=10, what="the next one")
    assert stored(attempt) == [4, 3]


def test_promise_11_a_corrupt_checkpoint_is_told_and_the_one_before_is_stored(attempt: LeasedAttempt) -> None:
    sealed(attempt.run_dir.checkpoint(1), model=b"sound")
    newest = attempt.run_dir.checkpoint(2)
    sealed(newest, model=b"sound too")
    (newest / "model").write_bytes(b"flipped!!")
    with behind_training(attempt) as shipper:
        shipper.seen()
        until(lambda: stored(attempt) == [1], within=10, what="the older one")
    assert len(attempt.events("checkpoint.corrupt")) == 1


def test_the_last_checkpoint_is_stored_when_another_attempt_will_need_it(attempt: LeasedAttempt) -> None:
    shipper = CheckpointShipper(
        attempt.api, attempt.patience, run_dir=attempt.run_dir, lose=lambda _: attempt.given_up.set(), failed=lambda: None
    )
    shipper.start()
    sealed(attempt.run_dir.checkpoint(9), model=b"nine")
    shipper.close(wants_last=True)
    assert stored(attempt) == [9]


def test_a_manifest_that_is_no_manifest_is_corrupt_and_stops_nothing(attempt: LeasedAttempt) -> None:
    sealed(attempt.run_dir.checkpoint(1), model=b"sound")
    broken = attempt.run_dir.checkpoint(2)
    broken.mkdir()
    (broken / "manifest.json").write_text(json.dumps({"files": [{"path": "../../secret", "size": 1, "sha256": "0" * 64}]}))
    with behind_training(attempt) as shipper:
        shipper.seen()
        until(lambda: stored(attempt) == [1], within=10, what="the older one")

"""What a spec refers to is put on the node once, and nothing outside the operator's roots is ever touched."""

import json
import os
import threading
from pathlib import Path

import pytest

from core.manifest import MANIFEST, Manifest, ManifestFile, content_key, describe
from core.recipes import parse_spec
from core.spec import BuiltinDataset, PathDataset
from core.states import Reason
from core.wire.worker import ArtifactsRequest, Claim, ClaimRequest, FinishRequest, ModelSource
from tests.worker.leased import LeasedAttempt
from worker.api_client import AttemptApi, NodeApi
from worker.cache_use import CacheUse
from worker.download import Downloader
from worker.materialise import CannotPrepare, Materialiser
from worker.uploader import OpenFiles, Uploader

DIGITS = BuiltinDataset(builtin="digits")


def nothing_to_check() -> None:
    """Nobody wants to stop."""


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    (tmp_path / "roots" / "set").mkdir(parents=True)
    return tmp_path / "roots"


def materialiser(attempt: LeasedAttempt, cache: Path, *roots: Path) -> Materialiser:
    return Materialiser(cache, roots, Downloader(attempt.api, attempt.patience), nothing_to_check, uses=CacheUse())


def test_digits_are_converted_once_for_all_jobs_of_a_node(attempt: LeasedAttempt, tmp_path: Path) -> None:
    found: list[Path | None] = []
    one = materialiser(attempt, tmp_path / "cache")
    threads = [threading.Thread(target=lambda: found.append(one.dataset(DIGITS))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    (folder,) = set(found)
    assert folder is not None
    assert {path.name for path in folder.iterdir()} == {"images.npy", "labels.npy", "classes.json", MANIFEST}
    written_at = (folder / "images.npy").stat().st_mtime_ns
    assert one.dataset(DIGITS) == folder
    assert (folder / "images.npy").stat().st_mtime_ns == written_at


def test_a_folder_inside_a_root_is_used_where_it_lies(attempt: LeasedAttempt, tmp_path: Path, roots: Path) -> None:
    one = materialiser(attempt, tmp_path / "cache", roots)
    assert one.dataset(PathDataset(path=str(roots / "set"))) == (roots / "set").resolve()


@pytest.mark.parametrize("trick", ["outside", "dots", "link", "pipe", "absent", "prefix"])
def test_promise_21_no_path_leads_out_of_the_roots(attempt: LeasedAttempt, tmp_path: Path, roots: Path, trick: str) -> None:
    outside = tmp_path / "roots-too"
    outside.mkdir()
    (roots / "link").symlink_to(outside)
    os.mkfifo(roots / "pipe")
    path = {
        "outside": outside,
        "dots": roots / ".." / "roots-too",
        "link": roots / "link",
        "pipe": roots / "pipe",
        "absent": roots / "absent",
        "prefix": Path(f"{roots}-too"),
    }[trick]
    with pytest.raises(CannotPrepare) as refused:
        materialiser(attempt, tmp_path / "cache", roots).dataset(PathDataset(path=str(path)))
    assert refused.value.reason is Reason.INVALID_DATA
    assert str(path) in str(refused.value)


def test_a_single_file_is_a_dataset_but_no_base_model(attempt: LeasedAttempt, tmp_path: Path, roots: Path) -> None:
    (roots / "rows.csv").write_text("a,b\n1,2\n")
    one = materialiser(attempt, tmp_path / "cache", roots)
    assert one.dataset(PathDataset(path=str(roots / "rows.csv"))) == (roots / "rows.csv").resolve()
    spec = parse_spec(json.dumps({"recipe": "scripted", "base_model": {"path": str(roots / "rows.csv")}}))
    with pytest.raises(CannotPrepare, match=r"base_model\.path: .* is not a folder"):
        one.base_model(spec, None)


def test_without_roots_no_path_is_allowed(attempt: LeasedAttempt, tmp_path: Path, roots: Path) -> None:
    with pytest.raises(CannotPrepare, match="data roots"):
        materialiser(attempt, tmp_path / "cache").dataset(PathDataset(path=str(roots / "set")))


def test_a_base_model_is_downloaded_once(attempt: LeasedAttempt, tmp_path: Path) -> None:
    files = finished_package(attempt, tmp_path / "package", model=b"weights" * 1000, config=b"{}")
    claim, api = claim_for_base(attempt)
    spec = claim.spec
    assert claim.base_model == ModelSource(job_id=attempt.job_id, files=files)
    one = Materialiser(tmp_path / "cache", (), Downloader(api, attempt.patience), nothing_to_check, uses=CacheUse())
    folder = one.base_model(spec, claim.base_model)
    assert folder == tmp_path / "cache" / "models" / content_key(files)
    assert (folder / "model").read_bytes() == b"weights" * 1000
    with attempt.proxy.under(refuses=True):
        assert one.base_model(spec, claim.base_model) == folder
    api.close()


def test_a_job_without_references_needs_nothing(attempt: LeasedAttempt, tmp_path: Path) -> None:
    one = materialiser(attempt, tmp_path / "cache")
    spec = parse_spec(b'{"recipe": "scripted"}')
    assert one.channels(spec, {}) == {}
    assert one.base_model(spec, None) is None


def finished_package(attempt: LeasedAttempt, folder: Path, **files: bytes) -> tuple[ManifestFile, ...]:
    """The attempt's job has succeeded with this package."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    manifest = Manifest(files=describe(folder, folder.iterdir()))
    with OpenFiles(folder, manifest) as opened:
        Uploader(attempt.api, attempt.patience, threading.Event()).upload(opened)
    attempt.api.add_artifacts(ArtifactsRequest(manifest=manifest))
    attempt.api.finish(FinishRequest(reason=Reason.COMPLETED))
    return manifest.files


def claim_for_base(attempt: LeasedAttempt) -> tuple[Claim, AttemptApi]:
    """A job that starts from the attempt's package, claimed."""
    attempt.admin.submit(base_model={"job": attempt.job_id})
    node = attempt.served.node()
    worker_id = node.register("another")
    key = str(node.headers["Authorization"]).removeprefix("Bearer ")
    url = f"http://127.0.0.1:{attempt.proxy.port}"
    with NodeApi(url, key) as api:
        claim = api.claim(ClaimRequest(worker_id=worker_id, devices=(0, 1)))
    assert claim is not None
    return claim, AttemptApi(url, claim.attempt_id, claim.lease_token)

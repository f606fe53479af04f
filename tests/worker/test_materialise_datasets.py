"""Named datasets are put on the node by content: whole and verified, once for all jobs that read them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.manifest import content_key
from core.states import Reason
from core.wire.worker import Claim, ClaimRequest
from tests.api.pushing import Pusher
from tests.worker.leased import LeasedAttempt
from worker.api_client import ApiRefused, AttemptApi, NodeApi
from worker.cache_use import CacheUse
from worker.download import Downloader
from worker.materialise import CannotPrepare, Materialiser


class Reader:
    """An attempt of a job that reads ``birds``."""

    def __init__(self, attempt: LeasedAttempt, files: dict[str, bytes], cache: Path) -> None:
        pusher = Pusher(attempt.served)
        pusher.create()
        assert pusher.add(files).status_code == 201
        pusher.validate()
        attempt.admin.submit(recipe="image-classification", dataset="birds", training={})
        node = attempt.served.node()
        worker_id = node.register("another")
        url = f"http://127.0.0.1:{attempt.proxy.port}"
        with NodeApi(url, str(node.headers["Authorization"]).removeprefix("Bearer ")) as api:
            claim = api.claim(ClaimRequest(worker_id=worker_id, devices=(0, 1)))
        assert claim is not None
        self.claim: Claim = claim
        self.api = AttemptApi(url, claim.attempt_id, claim.lease_token)
        self.materialiser = Materialiser(cache, (), Downloader(self.api, attempt.patience), lambda: None, uses=CacheUse())

    def channels(self) -> dict[str, Path]:
        return self.materialiser.channels(self.claim.spec, self.claim.datasets)


@pytest.fixture
def new_reader(attempt: LeasedAttempt, tmp_path: Path) -> Iterator[Any]:
    readers = []

    def make(**files: bytes) -> Reader:
        readers.append(Reader(attempt, {path.replace("__", "/"): data for path, data in files.items()}, tmp_path / "cache"))
        return readers[-1]

    yield make
    for reader in readers:
        reader.api.close()


def test_a_version_of_several_files_is_a_folder_with_nothing_else(new_reader: Any, attempt: LeasedAttempt, tmp_path: Path) -> None:
    reader = new_reader(**{"cat__1": b"one" * 10_000, "dog__2": b"two", "manifest.json": b"the user's own"})
    folder = reader.channels()["training"]
    entry = tmp_path / "cache" / "versions" / content_key(reader.claim.datasets["training"].files)
    assert folder == entry / "content"
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {"cat/1": b"one" * 10_000, "dog/2": b"two", "manifest.json": b"the user's own"}
    with attempt.proxy.under(refuses=True):
        assert reader.channels() == {"training": folder}


@pytest.mark.parametrize("damage", ["changed", "gone", "more"])
def test_what_is_not_as_it_was_listed_is_downloaded_anew(new_reader: Any, damage: str) -> None:
    reader = new_reader(a=b"one", b=b"two")
    folder = reader.channels()["training"]
    if damage == "changed":
        (folder / "a").write_bytes(b"ONE")
    elif damage == "gone":
        (folder / "a").unlink()
    else:
        (folder / "c").write_bytes(b"three")
    assert reader.channels() == {"training": folder}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"one", "b": b"two"}


def test_a_version_of_one_file_is_that_file(new_reader: Any) -> None:
    long = "é" * 120 + ".csv"
    path = new_reader(**{long: b"a,b\n"}).channels()["training"]
    assert (path.name, path.read_bytes()) == (long, b"a,b\n")


def test_a_claim_that_does_not_say_where_the_files_are_ends_the_attempt(new_reader: Any) -> None:
    reader = new_reader(a=b"one")
    with pytest.raises(CannotPrepare) as refused:
        reader.materialiser.channels(reader.claim.spec, {})
    assert refused.value.reason is Reason.PROTOCOL


def test_files_of_no_dataset_of_the_job_are_refused(new_reader: Any, attempt: LeasedAttempt) -> None:
    reader = new_reader(a=b"one")
    stranger = attempt.api
    with pytest.raises(ApiRefused), stranger.blob(reader.claim.datasets["training"].files[0].sha256, start=0) as pieces:
        b"".join(pieces)

"""Checkpoints, artifacts and orphans in the ledger, on both databases."""

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from core.artifacts.artifacts import all_artifacts, commit_artifacts, get_artifact, list_artifacts, model_source
from core.artifacts.blobs import note_blob, readable_size
from core.artifacts.checkpoints import commit_checkpoint, list_checkpoints, sources_for
from core.artifacts.orphans import collect_orphans
from core.artifacts.store import FolderStore
from core.db.engine import Database
from core.db.tables import blobs, checkpoint_blobs, events, jobs
from core.errors import BlobMissing, InvalidInput, LeaseLost, NotFound
from core.jobs.leases import fence
from core.manifest import Manifest, ManifestFile
from core.wire.jobs import Artifact, Checkpoint
from core.wire.worker import ArtifactsRequest, CheckpointRequest
from tests.ledger.leased import NOW, Leased, end, leased, new_attempt, new_job


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "bytes", reserve=0.0)


def upload(db: Database, store: FolderStore, data: bytes) -> str:
    sha256 = store.put([data])
    with db.begin() as tx:
        note_blob(tx, sha256, len(data), NOW)
    return sha256


def manifest(**files: bytes) -> Manifest:
    return Manifest(
        files=tuple(
            ManifestFile(path=path.replace("__", "/"), size=len(data), sha256=hashlib.sha256(data).hexdigest())
            for path, data in files.items()
        )
    )


def commit(db: Database, lease: Leased, step: int, *, is_best: bool = False, **files: bytes) -> Checkpoint:
    with db.begin() as tx:
        request = CheckpointRequest(step=step, manifest=manifest(**files), is_best=is_best, metrics={"loss": 0.5, "bad": float("nan")})
        return commit_checkpoint(tx, fence(tx, lease.attempt_id, lease.token), request, NOW)


def hand_over(db: Database, lease: Leased, **files: bytes) -> list[Artifact]:
    with db.begin() as tx:
        return commit_artifacts(tx, fence(tx, lease.attempt_id, lease.token), ArtifactsRequest(manifest=manifest(**files)), NOW)


def steps(db: Database, lease: Leased) -> list[int]:
    with db.read() as tx:
        return [source.step for source in sources_for(tx, lease.job_id)]


def test_promise_10_a_checkpoint_is_visible_only_when_every_blob_is_there(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    upload(db, store, b"one")
    with pytest.raises(BlobMissing) as missing:
        commit(db, lease, 5, a=b"one", b=b"two", c=b"three")
    assert set(missing.value.missing) == {hashlib.sha256(b"two").hexdigest(), hashlib.sha256(b"three").hexdigest()}
    assert steps(db, lease) == []
    upload(db, store, b"two"), upload(db, store, b"three")
    stored = commit(db, lease, 5, a=b"one", b=b"two", c=b"three")
    assert (stored.step, stored.num_bytes, stored.attempt, stored.metrics) == (5, 11, 1, {"loss": 0.5})
    assert steps(db, lease) == [5]
    with db.read() as tx:
        source = sources_for(tx, lease.job_id)[0]
    assert [(file.path, file.size) for file in source.manifest.files] == [("a", 3), ("b", 3), ("c", 5)]


def test_a_blob_of_another_size_is_missing(db: Database, store: FolderStore) -> None:
    lease, sha256 = leased(db), upload(db, store, b"one")
    lying = Manifest(files=(ManifestFile(path="a", size=4, sha256=sha256),))
    with pytest.raises(BlobMissing), db.begin() as tx:
        commit_checkpoint(tx, fence(tx, lease.attempt_id, lease.token), CheckpointRequest(step=1, manifest=lying), NOW)


def test_the_same_commit_again_is_a_no_op(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    upload(db, store, b"one")
    assert commit(db, lease, 5, a=b"one") == commit(db, lease, 5, a=b"one")
    with db.read() as tx:
        assert tx.scalars(select(events.c.type).where(events.c.job_id == lease.job_id)).all() == ["checkpoint.stored"]


def test_progress_gives_the_infrastructure_budget_back(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    upload(db, store, b"one")
    counts = (jobs.c.checkpoint_step, jobs.c.infrastructure_failures, jobs.c.node_failures, jobs.c.user_failures)
    for step, expected in ((5, (5, 0, 0, 2)), (5, (5, 2, 2, 2)), (4, (5, 2, 2, 2)), (6, (6, 0, 0, 2))):
        with db.begin() as tx:
            tx.execute(update(jobs).values(infrastructure_failures=2, node_failures=2, user_failures=2))
        commit(db, lease, step, a=b"one")
        with db.read() as tx:
            assert tx.execute(select(*counts)).one() == expected, step


def test_the_newest_two_and_the_best_are_kept(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    for step in range(1, 8):
        upload(db, store, b"%d" % step)
        commit(db, lease, step, is_best=step in (2, 3), a=b"%d" % step)
    assert steps(db, lease) == [7, 6, 3]
    with db.read() as tx:
        page = list_checkpoints(tx, lease.project_id, lease.job_id)
        held = set(tx.scalars(select(checkpoint_blobs.c.sha256)))
    assert [(item.step, item.is_best) for item in page.data] == [(7, False), (6, False), (3, True)]
    assert held == {hashlib.sha256(b"%d" % step).hexdigest() for step in (3, 6, 7)}


def test_an_attempt_that_went_back_keeps_what_it_uploads(db: Database, store: FolderStore) -> None:
    first = leased(db)
    upload(db, store, b"one")
    for step in (50, 100, 110):
        commit(db, first, step, a=b"one")
    end(db, first)
    second = new_attempt(db, first.project_id, first.job_id, 2)
    commit(db, second, 60, a=b"one")
    assert steps(db, first) == [110, 60]
    commit(db, second, 70, a=b"one")
    assert steps(db, first) == [70, 60]


def test_promise_02_a_stale_lease_commits_nothing(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    upload(db, store, b"one")
    end(db, lease)
    with pytest.raises(LeaseLost):
        commit(db, lease, 5, a=b"one")
    with pytest.raises(LeaseLost):
        hand_over(db, lease, a=b"one")
    with db.read() as tx:
        assert list_artifacts(tx, lease.project_id, lease.job_id).data == []
        assert list_checkpoints(tx, lease.project_id, lease.job_id).data == []


def test_artifacts_are_listed_by_path_in_pages(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    files = {f"dir__{number}.json": b"%d" % number for number in range(7)}
    for data in files.values():
        upload(db, store, data)
    hand_over(db, lease, **files)
    seen, after = [], None
    while True:
        with db.read() as tx:
            page = list_artifacts(tx, lease.project_id, lease.job_id, after=after, limit=3)
        seen += [item.path for item in page.data]
        after = page.last_id
        if not page.has_more:
            break
    assert seen == sorted(path.replace("__", "/") for path in files)
    with db.read() as tx:
        assert [item.path for item in all_artifacts(tx, lease.project_id, lease.job_id)] == seen
        item = get_artifact(tx, lease.project_id, lease.job_id, "dir/3.json")
    assert (item.size, item.media_type, item.sha256) == (1, "application/json", hashlib.sha256(b"3").hexdigest())


def test_a_second_manifest_adds_and_replaces_within_its_attempt(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    for data in (b"1", b"2", b"3"):
        upload(db, store, data)
    hand_over(db, lease, stacks=b"1", model=b"2")
    again = hand_over(db, lease, stacks=b"1", model=b"2")
    assert [item.path for item in again] == ["model", "stacks"]
    assert {item.path: item.size for item in hand_over(db, lease, model=b"3", card=b"1")} == {"card": 1, "model": 1, "stacks": 1}
    with db.read() as tx:
        assert get_artifact(tx, lease.project_id, lease.job_id, "model").sha256 == hashlib.sha256(b"3").hexdigest()
        assert tx.scalars(select(events.c.type).where(events.c.job_id == lease.job_id)).all() == ["artifacts.stored"] * 2


def test_a_job_shows_the_artifacts_of_the_attempt_that_committed_last(db: Database, store: FolderStore) -> None:
    first = leased(db)
    upload(db, store, b"1"), upload(db, store, b"2")
    hand_over(db, first, stacks=b"1")
    end(db, first)
    second = new_attempt(db, first.project_id, first.job_id, 2)
    with db.read() as tx:
        assert [item.path for item in list_artifacts(tx, first.project_id, first.job_id).data] == ["stacks"]
    hand_over(db, second, model=b"2")
    with db.read() as tx:
        assert [item.path for item in list_artifacts(tx, first.project_id, first.job_id).data] == ["model"]
        assert [item.path for item in list_artifacts(tx, first.project_id, first.job_id, attempt=1).data] == ["stacks"]
        with pytest.raises(NotFound):
            get_artifact(tx, first.project_id, first.job_id, "stacks")
        assert get_artifact(tx, first.project_id, first.job_id, "stacks", attempt=1).size == 1


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a\\b", "a\0b", "\udc80", "%2e%2e/x", "a/../model", "x" * 10_000, "", "."])
def test_promise_21_path_tricks_are_not_found(db: Database, store: FolderStore, path: str) -> None:
    lease = leased(db)
    upload(db, store, b"1")
    hand_over(db, lease, model=b"1")
    with db.read() as tx, pytest.raises(NotFound):
        get_artifact(tx, lease.project_id, lease.job_id, path)


def test_two_files_with_one_path_are_refused(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    upload(db, store, b"1")
    with pytest.raises(InvalidInput):
        hand_over(db, lease, Model=b"1", model=b"1")


def test_promise_23_foreign_jobs_are_not_found(db: Database, store: FolderStore) -> None:
    lease, stranger = leased(db), leased(db)
    upload(db, store, b"1")
    hand_over(db, lease, model=b"1")
    with db.read() as tx:
        for listed in (list_artifacts, list_checkpoints, all_artifacts):
            with pytest.raises(NotFound):
                listed(tx, stranger.project_id, lease.job_id)
        with pytest.raises(NotFound):
            get_artifact(tx, stranger.project_id, lease.job_id, "model")


def test_an_attempt_reads_its_own_checkpoints_and_its_base_model_alone(db: Database, store: FolderStore) -> None:
    base, stranger = leased(db), leased(db)
    for data in (b"package", b"foreign", b"mine", b"loose"):
        upload(db, store, data)
    hand_over(db, base, model=b"package")
    hand_over(db, stranger, model=b"foreign")
    lease = new_attempt(
        db, *new_job(db, spec=f'{{"recipe":"scripted","base_model":{{"job":"{base.job_id}"}}}}', project_id=base.project_id)
    )
    commit(db, lease, 1, a=b"mine")
    with db.begin() as tx:
        held = fence(tx, lease.attempt_id, lease.token)
        assert readable_size(tx, held, hashlib.sha256(b"package").hexdigest()) == 7
        assert readable_size(tx, held, hashlib.sha256(b"mine").hexdigest()) == 4
        for data in (b"foreign", b"loose", b"unknown"):
            with pytest.raises(NotFound):
                readable_size(tx, held, hashlib.sha256(data).hexdigest())
        assert [file.path for file in model_source(tx, base.project_id, base.job_id).files] == ["model"]
        with pytest.raises(NotFound):
            model_source(tx, stranger.project_id, base.job_id)


def test_only_old_and_unused_bytes_are_collected(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    used = [upload(db, store, data) for data in (b"checkpoint", b"artifact")]
    loose, unknown = upload(db, store, b"loose"), store.put([b"crashed before its row"])
    commit(db, lease, 1, a=b"checkpoint")
    hand_over(db, lease, b=b"artifact")
    written = store.path(loose).stat().st_mtime
    assert collect_orphans(db, store, now=NOW) == 0
    later = NOW + timedelta(days=30_000)  # so far that the files are old too
    assert later.timestamp() > written
    assert collect_orphans(db, store, now=later) == 2
    assert [store.has(sha256) for sha256 in (*used, loose, unknown)] == [True, True, False, False]
    with db.read() as tx:
        assert set(tx.scalars(select(blobs.c.sha256))) == set(used)


def test_bytes_that_were_asked_for_again_are_young(db: Database, store: FolderStore) -> None:
    sha256 = upload(db, store, b"loose")
    later = NOW + timedelta(days=30_000)
    with db.begin() as tx:
        note_blob(tx, sha256, 5, later)
    assert collect_orphans(db, store, now=later) == 0
    assert store.has(sha256)

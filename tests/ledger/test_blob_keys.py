"""Keys of projects and of objects in the ledger: made once, exchanged with the master key, and of use to encrypt what lies plain."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import func, select

from core.access.project_keys import ProjectKeys, check_master_key
from core.access.rotate import rotate_master_key
from core.artifacts.encrypt_stored import encrypt_stored
from core.artifacts.open_store import Opener, seal_store
from core.artifacts.sealed_store import SealedStore
from core.artifacts.segments import SEGMENT
from core.artifacts.upload import UploadKey
from core.artifacts.uploads import note_upload
from core.clock import FakeClock, SystemClock
from core.db.engine import Database
from core.db.key_tables import blob_keys
from core.errors import Unavailable, WrongMasterKey
from tests.bed.servers import Servers
from tests.ledger.sealing import MASTER, folder_of, keys_of, make_projects, opener_of

NEW = "the master key that follows it, long enough"
DATA = b"plain bytes of long ago " * 100_000
SHA = hashlib.sha256(DATA).hexdigest()
A = UploadKey("prj_a", SHA)


@pytest.fixture
def ledger(db: Database) -> Database:
    make_projects(db, "prj_a", "prj_b")
    return db


@pytest.fixture(params=["folder", "bucket"])
def opener(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Opener:
    return opener_of(request.param, servers, tmp_path / "bytes")


def hold_plain(ledger: Database, opener: Opener, data: bytes = DATA) -> SealedStore:
    """Stores the bytes plain, as before encryption was switched on; the store as it is afterwards."""
    sha256 = opener(None).put([data])
    with ledger.begin() as tx:
        note_upload(tx, "prj_a", sha256, len(data), SystemClock().now())
    return seal_store(opener, keys_of(ledger))


def exchange(ledger: Database) -> None:
    with ledger.begin() as tx:
        rotate_master_key(tx, MASTER, NEW, SystemClock().now())


def test_the_first_two_who_send_the_same_bytes_agree_on_its_key(ledger: Database) -> None:
    """On both ledgers; each as a process of its own would."""
    for round_number in range(20):
        sha256 = hashlib.sha256(str(round_number).encode()).hexdigest()
        found = together(lambda owner, name=sha256: keys_of(ledger).for_upload(owner, name), "prj_a", "prj_b")
        assert found[0] == found[1] == keys_of(ledger).of(sha256)
    with ledger.read() as tx:
        assert tx.scalar(select(func.count()).select_from(blob_keys)) == 40


def together(call: Callable[[str], bytes], *owners: str) -> list[bytes]:
    barrier = Barrier(len(owners))

    def at_once(owner: str) -> bytes:
        barrier.wait(10)
        return call(owner)

    with ThreadPoolExecutor(len(owners)) as pool:
        return list(pool.map(at_once, owners))


def test_the_bytes_open_with_the_new_master_key_and_no_more_with_the_old_one(ledger: Database, opener: Opener) -> None:
    seal_store(opener, keys_of(ledger)).put([DATA], owner="prj_a")
    exchange(ledger)
    assert b"".join(seal_store(opener, keys_of(ledger, master=NEW)).read(SHA, 0, len(DATA))) == DATA
    with pytest.raises(WrongMasterKey):
        seal_store(opener, keys_of(ledger)).read(SHA, 0, len(DATA))


def test_a_server_that_runs_on_with_the_old_master_key_seals_nothing_under_it(ledger: Database) -> None:
    with ledger.begin() as tx:
        assert check_master_key(tx, MASTER, encrypts=True, now=SystemClock().now()) is None
    old = keys_of(ledger)
    old.for_upload("prj_a", SHA)
    exchange(ledger)
    with pytest.raises(WrongMasterKey):
        old.for_upload("prj_b", SHA)
    with pytest.raises(WrongMasterKey):  # of a project that has no key yet, and bytes that nobody has
        old.for_upload("prj_b", "b" * 64)
    with ledger.begin() as tx:
        ProjectKeys(NEW).ensure(tx, "prj_b", SystemClock().now())
        assert check_master_key(tx, MASTER, encrypts=True, now=SystemClock().now()) is not None


@pytest.mark.parametrize("begin", [lambda store: None, lambda store: begin_upload(store)], ids=["nobody", "an upload that broke off"])
def test_what_lies_plain_is_encrypted_whoever_asked_for_its_key(
    ledger: Database, opener: Opener, begin: Callable[[SealedStore], None]
) -> None:
    store = hold_plain(ledger, opener)
    begin(store)
    assert encrypt_stored(ledger, store) == 1
    assert not store.plain.has(SHA)
    assert store.sealed.has(SHA)
    assert b"".join(store.read(SHA, 0, len(DATA))) == DATA
    assert encrypt_stored(ledger, store) == 0


def begin_upload(store: SealedStore) -> None:
    with store.upload(A, len(DATA)) as upload:
        upload.write(DATA[:100])


def test_a_damaged_plain_object_is_told_of_and_not_made_to_look_whole(
    ledger: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = hold_plain(ledger, folder_of(tmp_path))
    path = tmp_path / "sha256" / SHA[:2] / SHA[2:4] / SHA
    path.write_bytes(DATA[:-1] + b"?")
    assert encrypt_stored(ledger, store) == 0
    assert (store.plain.has(SHA), store.sealed.has(SHA)) == (True, False)
    assert [getattr(item, "sha256", None) for item in caplog.records if getattr(item, "event", "") == "blob.damaged"] == [SHA]


def test_an_upload_whose_key_was_replaced_meanwhile_leaves_the_stored_object_alone(ledger: Database, opener: Opener) -> None:
    """A single request that lasts longer than a key of nothing is kept."""
    slow, other = seal_store(opener, keys_of(ledger)), seal_store(opener, keys_of(ledger))
    with pytest.raises(Unavailable, match="send it again"), slow.upload(A, len(DATA)) as upload:  # noqa: PT012  # why: raised at its end
        upload.write(DATA[: SEGMENT + 5])
        with ledger.begin() as tx:
            tx.execute(blob_keys.delete())
        other.put([DATA], owner="prj_b")
        upload.write(DATA[SEGMENT + 5 :])
    assert b"".join(seal_store(opener, keys_of(ledger)).read(SHA, 0, len(DATA))) == DATA
    with slow.upload(A, len(DATA)) as upload:
        assert upload.offset == 0
        upload.write(DATA)
    assert b"".join(seal_store(opener, keys_of(ledger)).read(SHA, 0, len(DATA))) == DATA


def test_who_sent_the_bytes_while_encryption_was_off_gets_a_key_when_they_are_encrypted_again(ledger: Database, opener: Opener) -> None:
    clock = FakeClock(SystemClock().now())
    seal_store(opener, keys_of(ledger, clock=clock)).put([DATA], owner="prj_a")
    seal_store(opener, keys_of(ledger, clock=clock), encrypts=False).put([DATA], owner="prj_b")
    with ledger.begin() as tx:
        note_upload(tx, "prj_b", SHA, len(DATA), clock.now())
    clock.advance(timedelta(hours=2))
    store = seal_store(opener, keys_of(ledger, clock=clock))
    store.put([DATA], owner="prj_a")
    assert not store.plain.has(SHA)
    with ledger.begin() as tx:
        tx.execute(blob_keys.delete().where(blob_keys.c.project_id == "prj_a"))
    assert b"".join(seal_store(opener, keys_of(ledger)).read(SHA, 0, len(DATA))) == DATA

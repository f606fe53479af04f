"""What lies in a store that encrypts: nothing plain, nothing that opens when it was changed, and no key but the right one."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from core.access.vault import CannotOpen
from core.artifacts.blobs import note_blob
from core.artifacts.open_store import Opener, seal_store
from core.artifacts.orphans import collect_orphans
from core.artifacts.sealed_content import TAIL
from core.artifacts.sealed_store import SealedStore
from core.artifacts.segments import FRAME, HEADER, SEGMENT, FileCipher
from core.artifacts.store import FolderStore
from core.artifacts.upload import UploadKey
from core.artifacts.uploads import note_upload
from core.clock import FakeClock, SystemClock
from core.db.engine import Database
from core.db.key_tables import blob_keys
from core.errors import BytesDamaged, WrongMasterKey
from tests.bed.databases import Databases
from tests.bed.servers import Servers
from tests.ledger.sealing import keys_of, make_projects, opener_of

MARK = b"known plain bytes, which must lie nowhere "
DATA = MARK * 80_000  # three segments and a part
SHA = hashlib.sha256(DATA).hexdigest()
A, B = UploadKey("prj_a", SHA), UploadKey("prj_b", SHA)


@pytest.fixture
def ledger(databases: Databases, tmp_path: Path) -> Iterator[Database]:
    database = Database(databases.fresh_url("sqlite", tmp_path))
    make_projects(database, "prj_a", "prj_b")
    yield database
    database.dispose()


@pytest.fixture(params=["folder", "bucket"])
def opener(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Opener:
    return opener_of(request.param, servers, tmp_path / "bytes")


@pytest.fixture
def store(opener: Opener, ledger: Database) -> SealedStore:
    return seal_store(opener, keys_of(ledger))


@pytest.fixture
def folder(tmp_path: Path, servers: Servers) -> Opener:
    return opener_of("folder", servers, tmp_path / "bytes")


def send(store: SealedStore | FolderStore, key: UploadKey = A, data: bytes = DATA, size: int = len(DATA)) -> int:
    with store.upload(key, size) as upload:
        upload.write(data)
        return upload.offset


def whole(store: SealedStore) -> bytes:
    return b"".join(store.read(SHA, 0, len(DATA)))


def stored(root: Path) -> Path:
    return root / "bytes" / "sealed" / SHA[:2] / SHA[2:4] / SHA


def test_nothing_plain_lies_in_store_staging_or_ledger(folder: Opener, ledger: Database, tmp_path: Path) -> None:
    store = seal_store(folder, keys_of(ledger))
    other = hashlib.sha256(b"other").hexdigest()
    send(store, UploadKey("prj_a", other), DATA[:1_500_000], 2_000_000)  # stays in staging: a segment and a tail
    send(store)
    store.put([MARK, MARK], owner="prj_a")
    assert whole(store) == DATA
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {TAIL, ".db"}
    assert [path.name for path in files if MARK in path.read_bytes()] == []
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        assert MARK.decode() not in "\n".join(connection.iterdump())


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT])
def test_every_length_and_every_range_comes_back(folder: Opener, ledger: Database, size: int) -> None:
    store = seal_store(folder, keys_of(ledger))
    data = os.urandom(size)
    sha256 = store.put([data[:100], data[100:]], owner="prj_a")
    assert sha256 == hashlib.sha256(data).hexdigest()
    edges = sorted({0, 1, 7, SEGMENT - 1, SEGMENT, SEGMENT + 1, size - 1, size} & set(range(size + 1)))
    for start in edges:
        for end in (edge for edge in edges if edge >= start):
            assert b"".join(store.read(sha256, start, end)) == data[start:end], (start, end)


Change = Callable[[bytearray], None]


def flip(offset: int) -> Change:
    def change(content: bytearray) -> None:
        content[offset] ^= 1

    return change


def swap(content: bytearray) -> None:
    first, second = slice(HEADER, HEADER + FRAME), slice(HEADER + FRAME, HEADER + 2 * FRAME)
    content[first], content[second] = content[second], content[first]


def cut(length: int) -> Change:
    def change(content: bytearray) -> None:
        del content[length:]

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(flip(3), id="magic"),
        pytest.param(flip(HEADER - 1), id="header"),
        pytest.param(flip(HEADER + 5), id="nonce"),
        pytest.param(flip(HEADER + FRAME + 500_000), id="second segment"),
        pytest.param(flip(-1), id="last tag"),
        pytest.param(swap, id="segments swapped"),
        pytest.param(cut(-1), id="last byte cut off"),
        pytest.param(cut(HEADER + 2 * FRAME), id="segments cut off"),
        pytest.param(cut(HEADER + 2 * FRAME + 5), id="less than a tag left"),
        pytest.param(cut(HEADER), id="nothing but the header"),
        pytest.param(cut(0), id="empty"),
    ],
)
def test_what_was_changed_in_the_store_never_gives_wrong_bytes(folder: Opener, ledger: Database, tmp_path: Path, change: Change) -> None:
    store = seal_store(folder, keys_of(ledger))
    send(store)
    content = bytearray(stored(tmp_path).read_bytes())
    change(content)
    stored(tmp_path).write_bytes(content)
    given = []
    with pytest.raises(BytesDamaged):
        given.extend(store.read(SHA, 0, len(DATA)))
    got = b"".join(given)
    assert DATA.startswith(got)
    assert len(got) < len(DATA)


def test_a_segment_of_another_object_does_not_open(folder: Opener, ledger: Database, tmp_path: Path) -> None:
    """Of the same content even: every file has a key of its own."""
    store = seal_store(folder, keys_of(ledger))
    send(store)
    first = stored(tmp_path).read_bytes()
    send(store, B)
    second = stored(tmp_path).read_bytes()
    assert first[:HEADER] != second[:HEADER]
    stored(tmp_path).write_bytes(second[:HEADER] + first[HEADER:])
    with pytest.raises(BytesDamaged):
        whole(store)
    cipher = FileCipher.fresh()
    with pytest.raises(CannotOpen):
        cipher.open(cipher.seal(b"last", 0, is_last=True), 0, is_last=False)
    with pytest.raises(CannotOpen):
        cipher.open(cipher.seal_tail(b"tail", 0), 0, is_last=True)


def test_another_master_key_opens_nothing(opener: Opener, store: SealedStore, ledger: Database) -> None:
    send(store)
    stranger = seal_store(opener, keys_of(ledger, master="another master key, just as long as it"))
    with pytest.raises(WrongMasterKey):
        whole(stranger)
    with pytest.raises(WrongMasterKey):
        send(stranger, B)
    assert whole(seal_store(opener, keys_of(ledger))) == DATA


def test_two_projects_share_the_object_and_each_can_open_it_alone(opener: Opener, store: SealedStore, ledger: Database) -> None:
    send(store, A)
    send(seal_store(opener, keys_of(ledger)), B)
    for gone in ("prj_a", "prj_b"):
        assert whole(seal_store(opener, keys_of(ledger))) == DATA
        with ledger.begin() as tx:
            tx.execute(blob_keys.delete().where(blob_keys.c.project_id == gone))
    with pytest.raises(BytesDamaged, match="key of this object is gone"):
        whole(seal_store(opener, keys_of(ledger)))


def test_who_is_told_that_the_bytes_are_there_can_open_them_too(opener: Opener, store: SealedStore, ledger: Database) -> None:
    send(store, A)
    with ledger.begin() as tx:
        keys_of(ledger).share(tx, "prj_b", SHA)
        tx.execute(blob_keys.delete().where(blob_keys.c.project_id == "prj_a"))
    assert whole(seal_store(opener, keys_of(ledger))) == DATA


def test_plain_objects_stay_readable_and_are_encrypted_when_they_are_sent_again(opener: Opener, ledger: Database) -> None:
    off = seal_store(opener, keys_of(ledger), encrypts=False)
    send(off, A)
    with ledger.begin() as tx:
        note_upload(tx, "prj_a", SHA, len(DATA), SystemClock().now())
    on = seal_store(opener, keys_of(ledger))
    assert whole(on) == DATA
    send(on, B)
    assert opener(None).has(SHA) is False
    assert whole(on) == whole(off) == DATA
    with ledger.begin() as tx:  # who had it plain can open it without the project that brought the encryption
        assert set(tx.scalars(select(blob_keys.c.project_id))) == {"prj_a", "prj_b"}


def test_a_bucket_hands_out_no_addresses_of_what_is_encrypted(servers: Servers, ledger: Database, tmp_path: Path) -> None:
    opener = opener_of("bucket", servers, tmp_path / "bytes")
    on, off = seal_store(opener, keys_of(ledger)), seal_store(opener, keys_of(ledger), encrypts=False)
    assert on.direct is None
    send(on)
    plain = off.put([b"plain"])
    assert off.direct is not None
    assert off.direct.download_url(SHA, media_type="a/b", disposition="c") is None
    assert off.direct.download_url(plain, media_type="a/b", disposition="c") is not None


def test_keys_go_with_the_objects_that_nothing_refers_to(opener: Opener, ledger: Database) -> None:
    clock = FakeClock(SystemClock().now())
    store = seal_store(opener, keys_of(ledger, clock=clock))
    send(store)
    with ledger.begin() as tx:
        note_blob(tx, SHA, len(DATA), clock.now())
    later = clock.now() + timedelta(hours=25)
    clock.advance(timedelta(hours=24))
    young = UploadKey("prj_a", hashlib.sha256(b"on its way").hexdigest())
    send(store, young, b"on", 10)
    assert collect_orphans(ledger, store, now=later) == 1
    assert not store.has(SHA)
    with ledger.read() as tx:
        assert tx.scalars(select(blob_keys.c.sha256)).all() == [young.sha256]


def test_bytes_whose_key_was_forgotten_meanwhile_start_again(opener: Opener, store: SealedStore, ledger: Database) -> None:
    send(store, data=DATA[:2_000_000])
    with ledger.begin() as tx:
        tx.execute(blob_keys.delete())
    fresh = seal_store(opener, keys_of(ledger))
    assert fresh.durable_offset(A) == 0
    send(fresh)
    assert whole(fresh) == DATA


def test_a_torn_end_costs_the_torn_segment_alone(folder: Opener, ledger: Database, tmp_path: Path) -> None:
    send(seal_store(folder, keys_of(ledger)), data=DATA[: 2 * SEGMENT + 300])
    staged = tmp_path / "bytes" / "sealed-staging" / A.name
    with staged.open("ab") as file:
        file.write(os.urandom(1000))  # a kill in the middle of a write
    again = seal_store(folder, keys_of(ledger))
    assert again.durable_offset(A) == 2 * SEGMENT + 300
    staged.with_name(staged.name + TAIL).unlink()
    assert again.durable_offset(A) == 2 * SEGMENT
    with staged.open("r+b") as file:  # a power cut that took a whole segment's bytes
        file.truncate(HEADER + 2 * FRAME)
        file.seek(HEADER + FRAME)
        file.write(bytes(FRAME))
    assert again.durable_offset(A) == SEGMENT
    assert send(again, data=DATA[SEGMENT:]) == len(DATA)
    assert whole(again) == DATA


def test_small_pieces_get_somewhere(folder: Opener, ledger: Database) -> None:
    data = os.urandom(1000)
    key = UploadKey("prj_a", hashlib.sha256(data).hexdigest())
    for start in range(0, 1000, 100):
        store = seal_store(folder, keys_of(ledger))
        assert store.durable_offset(key) == start
        send(store, key, data[start : start + 100], 1000)
    assert b"".join(store.read(key.sha256, 0, 1000)) == data


def test_an_old_upload_that_was_never_finished_is_swept_with_its_tail(folder: Opener, ledger: Database, tmp_path: Path) -> None:
    store = seal_store(folder, keys_of(ledger))
    send(store, data=DATA[:300])
    assert len(list((tmp_path / "bytes" / "sealed-staging").iterdir())) == 2
    assert list(store.sweep(older_than=time.time() + 10)) == []
    assert list((tmp_path / "bytes" / "sealed-staging").iterdir()) == []

"""All stores, a folder and a bucket, plain and encrypting: uploads that resume, digests that decide, locks, objects that stay whole."""

import errno
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.artifacts.s3_store import S3Store
from core.artifacts.sealed_store import SealedStore
from core.artifacts.staging import storage_errors
from core.artifacts.store import FolderStore
from core.artifacts.upload import UploadKey
from core.db.engine import Database
from core.errors import DigestMismatch, InvalidInput, StorageFull, UploadInProgress
from tests.bed.databases import Databases
from tests.bed.servers import Servers
from tests.ledger.sealing import make_projects, opener_of, reopener

DATA = os.urandom(3_000_000)
SHA = hashlib.sha256(DATA).hexdigest()
KEY = UploadKey("att_1", SHA)


Store = FolderStore | S3Store | SealedStore
OpenStore = Callable[[], Store]


@pytest.fixture(params=["folder", "bucket", "sealed folder", "sealed bucket"])
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def keys_url(kind: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The ledger with the keys of a store that encrypts; nothing for another."""
    if not kind.startswith("sealed"):
        return ""
    url = databases.fresh_url("sqlite", tmp_path_factory.mktemp("ledger"))
    db = Database(url)
    make_projects(db, "att_1", "att_2")
    db.dispose()
    return url


@pytest.fixture
def open_store(kind: str, keys_url: str, servers: Servers, tmp_path: Path) -> OpenStore:
    """Opens one and the same store, as another process would."""
    return reopener(opener_of(kind.removeprefix("sealed "), servers, tmp_path), keys_url)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path, reserve=0.0)


def send(store: Store, key: UploadKey, data: bytes, size: int) -> int:
    with store.upload(key, size) as upload:
        upload.write(data)
        return upload.offset


def test_an_upload_in_parts_becomes_one_object(store: Store) -> None:
    for start in range(0, len(DATA), 1_000_000):
        assert store.durable_offset(KEY) == start
        assert not store.has(SHA)
        send(store, KEY, DATA[start : start + 1_000_000], len(DATA))
    assert b"".join(store.read(SHA, 0, len(DATA))) == DATA
    assert b"".join(store.read(SHA, 10, 20)) == DATA[10:20]
    assert store.durable_offset(KEY) == 0


def test_an_upload_goes_on_after_the_process_forgot_it(store: Store, open_store: OpenStore) -> None:
    send(store, KEY, DATA[:1_500_000], len(DATA))
    send(open_store(), KEY, DATA[1_500_000:], len(DATA))
    assert store.has(SHA)


def test_promise_19_a_wrong_digest_is_never_accepted_and_its_bytes_are_dropped(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch):
        send(store, KEY, DATA[:-1] + bytes([DATA[-1] ^ 1]), len(DATA))
    assert not store.has(SHA)
    assert store.durable_offset(KEY) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    send(store, KEY, DATA, len(DATA))
    assert store.has(SHA)


def test_more_bytes_than_announced_are_refused_and_not_kept(store: Store) -> None:
    with pytest.raises(InvalidInput, match="announced"):
        send(store, KEY, DATA + b"x", len(DATA))
    assert store.durable_offset(KEY) == 0
    send(store, KEY, DATA[:100], len(DATA))
    with pytest.raises(InvalidInput, match="uploaded already"), store.upload(KEY, 99):
        pass


def test_an_empty_object_is_an_object(store: Store) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    with store.upload(UploadKey("att_1", empty), 0):
        pass
    assert store.has(empty)
    assert list(store.read(empty, 0, 0)) == []


def test_one_request_at_a_time_holds_an_upload(store: Store, open_store: OpenStore) -> None:
    with store.upload(KEY, len(DATA)) as upload:
        upload.write(DATA[:100])
        with pytest.raises(UploadInProgress), open_store().upload(KEY, len(DATA)):
            pass
        with store.upload(UploadKey("att_2", SHA), len(DATA)) as other:  # another attempt has a file of its own
            other.write(DATA)
    assert b"".join(store.read(SHA, 0, len(DATA))) == DATA
    send(store, KEY, DATA[100:], len(DATA))
    assert b"".join(store.read(SHA, 0, len(DATA))) == DATA


def test_a_latecomer_never_writes_into_a_finished_object(store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opened the staging file just before that was renamed into place, and gets the lock just after."""
    real_open, is_first = os.open, True

    def open_then_finish(path: Path, flags: int, mode: int = 0o777) -> int:
        nonlocal is_first
        descriptor = real_open(path, flags, mode)
        if is_first and path.name == KEY.name:
            is_first = False
            send(store, KEY, DATA, len(DATA))
        return descriptor

    monkeypatch.setattr("core.artifacts.upload.os.open", open_then_finish)
    with open_store().upload(KEY, len(DATA)) as late:
        assert late.offset == 0
        late.write(b"rubbish")
    assert b"".join(store.read(SHA, 0, len(DATA))) == DATA


def test_promise_19_bytes_before_a_kill_are_where_the_next_request_goes_on(store: Store, keys_url: str, tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from core.artifacts.upload import UploadKey
from tests.ledger.sealing import folder_of, reopener
data = Path(sys.argv[2]).read_bytes()
with reopener(folder_of(Path(sys.argv[1])), sys.argv[4])().upload(UploadKey("att_1", sys.argv[3]), len(data)) as upload:
    upload.write(data[:2_000_000])
    os.kill(os.getpid(), signal.SIGKILL)
"""
    source = tmp_path / "source"
    source.write_bytes(DATA)
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path), str(source), SHA, keys_url], check=False)
    assert ended.returncode == -9
    offset = store.durable_offset(KEY)
    assert 0 <= offset <= 2_000_000
    send(store, KEY, DATA[offset:], len(DATA))
    assert store.has(SHA)


def test_a_disk_near_its_end_takes_no_upload(store: Store) -> None:
    stores = (store.sealed, store.plain) if isinstance(store, SealedStore) else (store,)
    for each in stores:
        assert isinstance(each, FolderStore | S3Store)
        each.staging.reserve = 1.0
    with pytest.raises(StorageFull), store.upload(KEY, len(DATA)):
        pass
    assert not store.has(SHA)


def test_a_write_that_fails_leaves_the_upload_where_it_was(store: Store, keys_url: str, tmp_path: Path) -> None:
    """A file size limit stops a real write in its middle, as a full disk does."""
    script = """
import resource, sys
from pathlib import Path
from core.artifacts.upload import UploadKey
from core.errors import StorageFull
from tests.ledger.sealing import folder_of, reopener
data = Path(sys.argv[2]).read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
store = reopener(folder_of(Path(sys.argv[1])), sys.argv[4])()
for chunk in (data[:1_000_000], data[1_000_000:]):
    try:
        with store.upload(UploadKey("att_1", sys.argv[3]), len(data)) as upload:
            upload.write(chunk)
    except StorageFull:
        print("full at", upload.offset)
"""
    source = tmp_path / "source"
    source.write_bytes(DATA)
    command = [sys.executable, "-c", script, str(tmp_path), str(source), SHA, keys_url]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "full at 1000000\n"
    assert store.durable_offset(KEY) == 1_000_000
    send(store, KEY, DATA[1_000_000:], len(DATA))
    assert store.has(SHA)


def test_only_a_full_disk_is_called_one() -> None:
    with pytest.raises(PermissionError), storage_errors():
        raise PermissionError(errno.EACCES, "no")


@pytest.mark.parametrize("name", ["../x", "a/b", "x" * 64, "A" * 64, "", "0" * 63, "0" * 65])
def test_promise_21_only_digests_name_files(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        store.has(name)
    with pytest.raises(ValueError, match="not an upload key"):
        _ = UploadKey("att_1", name).name
    with pytest.raises(ValueError, match="not an upload key"):
        _ = UploadKey("../" + name, SHA).name


def test_deleting_spares_what_was_stored_again_meanwhile(store: Store) -> None:
    sha256 = store.put([b"some", b"thing"], owner="att_1")
    stored_at = time.time()
    assert not store.delete(sha256, older_than=stored_at - 10)
    assert b"".join(store.read(sha256, 0, 9)) == b"something"
    assert store.delete(sha256, older_than=stored_at + 10)
    assert not store.has(sha256)
    assert not store.delete(sha256, older_than=stored_at + 10)
    with pytest.raises(FileNotFoundError):
        store.read(sha256, 0, 9)
    with pytest.raises(FileNotFoundError):
        list(store.read(sha256, 0, 0))


def test_the_sweep_drops_old_uploads_and_names_old_objects(store: Store) -> None:
    sha256 = store.put([b"kept"], owner="att_1")
    send(store, KEY, DATA[:10], len(DATA))
    now = time.time()
    assert list(store.sweep(older_than=now - 10)) == []
    assert store.durable_offset(KEY) == 10
    assert list(store.sweep(older_than=now + 10)) == [sha256]
    assert store.durable_offset(KEY) == 0


def test_a_reader_stops_when_told(store: Store) -> None:
    send(store, KEY, DATA, len(DATA))
    reader = store.read(SHA, 0, len(DATA))
    first = next(reader)
    assert DATA.startswith(first)
    reader.close()
    assert b"".join(store.read(SHA, len(DATA) - 7, len(DATA))) == DATA[-7:]


def test_what_users_stream_stops_at_the_reserve_and_leaves_nothing(tmp_path: Path) -> None:
    full = FolderStore(tmp_path, reserve=1.0)
    with pytest.raises(StorageFull, match="free"):
        full.put([b"sent by a user"], keeps_reserve=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert full.has(full.put([b"written by the service"]))

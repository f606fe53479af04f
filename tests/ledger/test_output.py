"""What ranks print, in the ledger and after compaction, on both databases."""

import hashlib
import random
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.artifacts.store import FolderStore
from core.db.engine import Database
from core.db.tables import blobs, events, log_chunks, log_streams
from core.errors import InvalidInput, LeaseLost, NotFound, OffsetMismatch
from core.jobs.leases import fence
from core.output.append import append_log
from core.output.compact import compact_logs
from core.output.follow import Place, Wanted, find_news
from core.output.read import StreamState, find_output, find_piece, render
from core.wire.jobs import LogPage
from core.wire.worker import LogReply
from tests.ledger.leased import NOW, Leased, end, leased, new_attempt

MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "bytes", reserve=0.0)


def put(db: Database, lease: Leased, offset: int, data: bytes, *, rank: int = 0, stream: str = "stdout", limit: int = 64 * MIB) -> LogReply:
    with db.begin() as tx:
        return append_log(tx, fence(tx, lease.attempt_id, lease.token), rank, stream, offset=offset, data=data, limit=limit, now=NOW)


def page(
    db: Database, store: FolderStore, lease: Leased, offset: int = 0, limit: int = MIB, *, rank: int = 0, stream: str = "stdout"
) -> LogPage:
    with db.snapshot() as tx:
        output = find_output(tx, lease.project_id, lease.job_id, lease.number)
        piece = find_piece(tx, output, output.streams.get((rank, stream), StreamState(rank, stream)), offset, limit)
    return render(output, piece, store)


def whole(db: Database, store: FolderStore, lease: Leased, limit: int = MIB) -> str:
    text, offset = "", 0
    while True:
        found = page(db, store, lease, offset, limit)
        text, offset = text + found.text, found.next_offset
        if found.is_complete or not found.text:
            return text


def test_bytes_are_stored_once_and_in_order(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    assert put(db, lease, 0, b"hello ").next_offset == 6
    assert put(db, lease, 0, b"hello ").next_offset == 6  # the answer was lost
    assert put(db, lease, 2, b"llo").next_offset == 6
    for offset, data in ((7, b"x"), (3, b"lo world"), (100, b"x")):
        with pytest.raises(OffsetMismatch) as refused:
            put(db, lease, offset, data)
        assert refused.value.expected_offset == 6
    assert put(db, lease, 6, b"world\n").next_offset == 12
    put(db, lease, 0, b"oops\n", rank=1, stream="stderr")
    found = page(db, store, lease)
    assert (found.text, found.offset, found.next_offset, found.is_complete) == ("hello world\n", 0, 12, False)
    assert [(item.rank, item.stream, item.size) for item in found.streams] == [(0, "stdout", 12), (1, "stderr", 5)]
    assert page(db, store, lease, rank=1, stream="stderr").text == "oops\n"
    assert page(db, store, lease, rank=7).text == ""


def test_promise_02_a_stale_lease_prints_nothing(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    put(db, lease, 0, b"before\n")
    end(db, lease)
    with pytest.raises(LeaseLost):
        put(db, lease, 7, b"after\n")
    assert whole(db, store, lease) == "before\n"


def test_every_split_and_every_page_size_give_the_same_text(db: Database, store: FolderStore) -> None:
    rng = random.Random(5)
    text = "".join(rng.choice("ab €😀\n") for _ in range(30_000))
    data, lease, offset = text.encode(), leased(db), 0
    while offset < len(data):
        size = rng.choice([1, 7, 300, 5_000, 20_000])
        offset = put(db, lease, offset, data[offset : offset + size]).next_offset
    with db.read() as tx:
        num_chunks = tx.scalar(select(func.count()).select_from(log_chunks))
    assert num_chunks < 30  # small appends share a row
    for limit in (5, 1000, 4096, MIB)[1:]:
        assert whole(db, store, lease, limit) == text
    end(db, lease)
    compact_logs(db, store, now=NOW)
    assert whole(db, store, lease, 1000) == text


def test_an_unfinished_character_waits_for_its_last_bytes(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    put(db, lease, 0, b"a\xe2\x82")
    found = page(db, store, lease)
    assert (found.text, found.next_offset) == ("a", 1)
    put(db, lease, 3, b"\xac")
    assert page(db, store, lease, 1).text == "€"
    put(db, lease, 4, b"\xf0\x9f")
    end(db, lease)
    found = page(db, store, lease, 4)
    assert (found.text, found.next_offset, found.is_complete) == ("\ufffd", 6, True)


def test_promise_24_a_secret_is_hidden_however_it_is_split(db: Database, store: FolderStore) -> None:
    secret = "ty_abcd1234_" + "Zz9" * 17
    line = f"key={secret} url=redis://u:pass-word@h/0 lease_{'q' * 43}\n".encode()
    for split in range(1, len(line), 3):
        lease = leased(db)
        put(db, lease, 0, line[:split])
        put(db, lease, split, line[split:])
        shown = whole(db, store, lease)
        assert len(shown) == len(line)
        assert not [part for part in ("Zz9", "pass-word", "qqqqq") if part in shown], (split, shown)
        assert shown.startswith("key=ty_abcd1234_*")


def test_a_secret_across_stored_chunks_is_hidden_too(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    put(db, lease, 0, b"x" * 8_000 + b" lease_" + b"q" * 10)
    put(db, lease, 8_017, b"q" * 10)
    put(db, lease, 8_027, b"q" * 10 + b"\n")
    assert "q" not in whole(db, store, lease)


def test_the_cap_is_told_once_in_the_journal_and_once_in_each_stream(db: Database, store: FolderStore) -> None:
    lease = leased(db)
    assert not put(db, lease, 0, b"a" * 900, limit=1000).is_truncated
    reply = put(db, lease, 900, b"b" * 300, limit=1000)
    assert (reply.next_offset, reply.is_truncated) == (1200, True)
    assert put(db, lease, 1200, b"c" * 300, limit=1000).next_offset == 1500
    assert put(db, lease, 0, b"d" * 50, rank=1, limit=1000).is_truncated
    text = whole(db, store, lease)
    assert text.startswith("a" * 900 + "b" * 100 + "\n[trainyard: the output limit of 1000 bytes")
    assert "c" not in text.replace("reached", "").replace("trainyard", "").split("[")[0]
    assert page(db, store, lease, rank=1).text.startswith("\n[trainyard")
    assert all(item.is_truncated for item in page(db, store, lease).streams)
    with db.read() as tx:
        assert tx.scalars(select(events.c.type).where(events.c.job_id == lease.job_id)).all() == ["logs.truncated"]


def test_an_ended_attempt_is_compacted_and_reads_the_same(db: Database, store: FolderStore) -> None:
    lease, running = leased(db), leased(db)
    data = bytes(range(256)) * 5_000
    for offset in range(0, len(data), 200_000):
        put(db, lease, offset, data[offset : offset + 200_000])
    put(db, running, 0, b"still here\n")
    before = whole(db, store, lease)
    assert compact_logs(db, store, now=NOW) == 0
    end(db, lease)
    assert compact_logs(db, store, now=NOW) == 1
    assert compact_logs(db, store, now=NOW) == 0
    with db.read() as tx:
        assert tx.scalars(select(log_chunks.c.attempt_id)).all() == [running.attempt_id]
        stream = tx.execute(select(log_streams).where(log_streams.c.attempt_id == lease.attempt_id)).one()
        assert tx.execute(select(blobs.c.sha256, blobs.c.size)).one() == (stream.blob_sha256, len(data))
    assert stream.is_closed
    assert hashlib.sha256(b"".join(store.read(stream.blob_sha256, 0, len(data)))).hexdigest() == stream.blob_sha256
    assert whole(db, store, lease) == before
    assert page(db, store, lease, 100, 50).text == data[100:150].decode("utf-8", "replace")


def test_promise_23_foreign_output_is_not_found(db: Database) -> None:
    lease, stranger = leased(db), leased(db)
    with db.read() as tx:
        for project_id, job_id, attempt in (
            (stranger.project_id, lease.job_id, None),
            (lease.project_id, "job_x", None),
            (lease.project_id, lease.job_id, 2),
        ):
            with pytest.raises(NotFound):
                find_output(tx, project_id, job_id, attempt)


def follow(db: Database, store: FolderStore, lease: Leased, place: Place, wanted: Wanted) -> tuple[Place, str]:
    with db.snapshot() as tx:
        output, pieces = find_news(tx, lease.project_id, lease.job_id, place, wanted)
    text = ""
    for found in [render(output, piece, store) for piece in pieces]:
        text += found.text
        place = Place.parse(str(place.moved(found.rank, found.stream, found.next_offset)))
    return place, text


def test_promise_16_a_follower_gets_every_byte_once(db: Database, store: FolderStore) -> None:
    lease, place, seen = leased(db), Place(1), ""
    sent, rng = {(0, "stdout"): "", (0, "stderr"): "", (1, "stdout"): ""}, random.Random(11)
    for number in range(60):
        name = rng.choice(list(sent))
        line = f"{name[0]}{name[1][3]} line {number} é\n"
        put(db, lease, len(sent[name].encode()), line.encode(), rank=name[0], stream=name[1])
        sent[name] += line
        if rng.random() < 0.4:
            place, text = follow(db, store, lease, place, Wanted())
            seen += text
    seen += follow(db, store, lease, place, Wanted())[1]
    assert sorted(seen.splitlines()) == sorted("".join(sent.values()).splitlines())
    assert follow(db, store, lease, Place(1), Wanted(rank=1))[1] == sent[1, "stdout"]
    assert follow(db, store, lease, Place(1), Wanted(stream="stderr"))[1] == sent[0, "stderr"]


def test_a_follower_sees_where_the_next_attempt_begins(db: Database) -> None:
    first = leased(db)
    end(db, first)
    new_attempt(db, first.project_id, first.job_id, 2)
    with db.read() as tx:
        output = find_output(tx, first.project_id, first.job_id, 1)
        assert (output.is_closed, output.next_attempt, output.is_job_over) == (True, 2, False)
        assert find_output(tx, first.project_id, first.job_id).attempt == 2
        assert find_output(tx, first.project_id, first.job_id, 0).next_attempt == 1


@pytest.mark.parametrize("text", ["", "x", "1:0.stdin.4", "1:0.stdout", "1:0.stdout.4;", "1:,", "1:0.stdout.-4", "1:0.stdout.4\n"])
def test_an_event_id_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Place.parse(text)

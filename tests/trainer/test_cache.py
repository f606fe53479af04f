"""The cache of prepared data: made once, shared, never half, never taken away from one who uses it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from core.manifest import verify
from trainer import signs_of_life
from trainer.data import cache
from trainer.data.cache import content_digest, data_digest, entry_name, is_whole, prepared
from trainer.errors import InvalidData, PeerLost
from trainer.state import Run
from worker.cache_pruning import CacheLimits, prune_cache

KEY = {"data": "abc", "lower": True}


class Ranks:
    """As many ranks as threads; ``all_agree`` is the meeting that a collective is."""

    def __init__(self, rank: int = 0, barrier: threading.Barrier | None = None, claims: list[bool] | None = None) -> None:
        self.is_first = rank == 0
        self.barrier = barrier or threading.Barrier(1)
        self.claims = [] if claims is None else claims

    def all_agree(self, claim: bool) -> bool:
        self.claims.append(claim)
        self.barrier.wait(10)
        return all(self.claims)


class Reporter:
    def __init__(self) -> None:
        self.num_signs = 0
        self.said = threading.Event()

    def progress(self, **_: object) -> None:
        self.num_signs += 1
        self.said.set()


def new_run(root: Path, ranks: Ranks | None = None, *, has_cache: bool = True) -> Run:
    cache_dir = str(root / "prepared") if has_cache else None
    fake = SimpleNamespace(
        file=SimpleNamespace(cache_dir=cache_dir, data_dir=str(root / "data")),
        dir=SimpleNamespace(scratch=root),
        ranks=ranks or Ranks(),
        report=Reporter(),
    )
    return cast(Run, fake)


class Builder:
    """Counts how often it was asked."""

    def __init__(self, *, meanwhile: Callable[[], object] = lambda: None, size: int = 5) -> None:
        self.num_built = 0
        self.meanwhile, self.size = meanwhile, size

    def __call__(self, folder: Path) -> None:
        self.num_built += 1
        (folder / "rows.bin").write_bytes(b"x" * self.size)
        self.meanwhile()


@pytest.fixture(autouse=True)
def uses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """This process stands for many: what it uses is let go between tests, or when a test says so."""
    descriptors: list[int] = []
    monkeypatch.setattr(cache, "_IN_USE", descriptors)
    yield descriptors
    let_go(descriptors)


def let_go(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def test_a_second_job_on_the_same_data_starts_at_once(tmp_path: Path) -> None:
    build = Builder()
    folders = {prepared(new_run(tmp_path), KEY, build) for _ in range(3)}

    (folder,) = folders
    assert build.num_built == 1
    assert verify(folder).meta["key"] == KEY
    assert prepared(new_run(tmp_path), {**KEY, "lower": False}, build) != folder
    assert build.num_built == 2


def test_without_a_cache_the_run_directory_holds_it(tmp_path: Path) -> None:
    assert prepared(new_run(tmp_path, has_cache=False), KEY, Builder()).is_relative_to(tmp_path)


def test_the_other_ranks_wait_for_the_first(tmp_path: Path) -> None:
    barrier, claims = threading.Barrier(3), list[bool]()
    builders = [Builder() for _ in range(3)]
    found: list[Path] = []

    def be(rank: int) -> None:
        found.append(prepared(new_run(tmp_path, Ranks(rank, barrier, claims)), KEY, builders[rank]))

    threads = [threading.Thread(target=be, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [build.num_built for build in builders] == [1, 0, 0]
    assert len(found) == 3
    assert is_whole(found[0])


def test_what_the_builder_raises_ends_every_rank_and_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise InvalidData(["no rows"])

    with pytest.raises(InvalidData, match="no rows"):
        prepared(new_run(tmp_path), KEY, fail)
    with pytest.raises(PeerLost):
        prepared(new_run(tmp_path, Ranks(1, claims=[False])), KEY, fail)
    assert [path.name for path in (tmp_path / "prepared").iterdir() if path.is_dir()] == []


def test_concurrent_jobs_build_once_and_the_one_that_waits_shows_life(tmp_path: Path) -> None:
    first, second = new_run(tmp_path), new_run(tmp_path)
    waits = cast(Reporter, second.report).said
    started = threading.Event()

    def hold() -> None:
        started.set()
        waits.wait(10)

    builder, other = Builder(meanwhile=hold), Builder()

    thread = threading.Thread(target=prepared, args=(first, KEY, builder))
    thread.start()
    assert started.wait(10)
    folder = prepared(second, KEY, other)
    thread.join(10)
    assert is_whole(folder)
    assert (builder.num_built, other.num_built) == (1, 0)
    assert cast(Reporter, second.report).num_signs >= 1


def test_a_builder_that_computes_shows_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs_of_life, "BEAT_SECONDS", 0.01)
    run = new_run(tmp_path)
    said = cast(Reporter, run.report).said

    def compute(folder: Path) -> None:
        while not said.is_set():
            sum(range(1000))

    prepared(run, KEY, compute)
    assert cast(Reporter, run.report).num_signs >= 1


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.trainer.test_cache import KEY, new_run
from trainer.data.cache import prepared

def die(folder):
    (folder / "rows.bin").write_bytes(b"xx")
    os.kill(os.getpid(), signal.SIGKILL)

prepared(new_run(Path(sys.argv[1])), KEY, die)
"""


def test_a_killed_builder_leaves_nothing_that_is_taken_for_an_entry(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    assert died.returncode == -signal.SIGKILL
    root = tmp_path / "prepared"
    assert not (root / entry_name(KEY)).exists()
    assert (root / f".{entry_name(KEY)}.part").exists()

    build = Builder()
    assert (prepared(new_run(tmp_path), KEY, build) / "rows.bin").read_bytes() == b"xxxxx"
    assert build.num_built == 1
    assert not (root / f".{entry_name(KEY)}.part").exists()


def test_a_damaged_entry_is_made_again(tmp_path: Path) -> None:
    build = Builder()
    folder = prepared(new_run(tmp_path), KEY, build)
    (folder / "rows.bin").write_bytes(b"x")

    assert is_whole(prepared(new_run(tmp_path), KEY, build))
    assert build.num_built == 2


def prune(cache: Path, max_bytes: int) -> list[str]:
    return prune_cache(cache, CacheLimits(max_bytes=max_bytes, max_age=timedelta(days=50_000)))


def test_the_least_recently_used_goes_first_and_what_is_used_never(tmp_path: Path, uses: list[int]) -> None:
    root = tmp_path / "prepared"
    folders = [prepared(new_run(tmp_path), {"n": number}, Builder(size=100)) for number in range(4)]
    let_go(uses)
    for number, folder in enumerate(folders):
        os.utime(root / f".{folder.name}.use", (number, number))
    prepared(new_run(tmp_path), {"n": 0}, Builder())  # touched, and in use

    assert prune(tmp_path, 250) == [folders[1].name, folders[2].name]
    assert [folder.exists() for folder in folders] == [True, False, False, True]
    assert prune(tmp_path, 0) == [folders[3].name]
    assert is_whole(folders[0])
    assert sorted(path.name for path in root.iterdir()) == sorted([folders[0].name, f".{folders[0].name}.lock", f".{folders[0].name}.use"])
    let_go(uses)
    assert prune(tmp_path, 0) == [folders[0].name]
    assert list(root.iterdir()) == []


def test_what_a_killed_builder_left_is_cleared_away(tmp_path: Path) -> None:
    root = tmp_path / "prepared"
    (root / ".abc.part").mkdir(parents=True)
    (root / ".abc.part" / "rows.bin").write_bytes(b"x" * 100)

    assert prune(tmp_path, 1 << 20) == []
    assert list(root.iterdir()) == []
    assert prune(tmp_path / "nowhere", 0) == []


def test_a_digest_of_content_knows_names_and_bytes_and_nothing_else(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for root in (one, other):
        (root / "sub").mkdir(parents=True)
        (root / "sub" / "rows.csv").write_text("a\n1\n")
    assert content_digest(one) == content_digest(other)
    assert content_digest(one / "sub" / "rows.csv") == content_digest(other / "sub" / "rows.csv")
    (other / "sub" / "rows.csv").write_text("a\n2\n")
    assert content_digest(one) != content_digest(other)
    (one / "sub" / "rows.csv").rename(one / "rows.csv")
    (other / "sub" / "rows.csv").write_text("a\n1\n")
    assert content_digest(one) != content_digest(other)


def test_the_bytes_of_a_dataset_are_read_again_only_when_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(cache, "content_digest", lambda root: read.append(root) or content_digest(root))  # type: ignore[func-returns-value]
    rows = tmp_path / "data" / "rows.csv"
    rows.parent.mkdir()
    rows.write_text("a\n1\n")
    first = [data_digest(new_run(tmp_path)) for _ in range(2)]
    rows.write_text("a\n2\n")
    second = data_digest(new_run(tmp_path))

    assert read == [tmp_path / "data"] * 2
    assert first == [first[0]] * 2
    assert second == content_digest(tmp_path / "data") != first[0]

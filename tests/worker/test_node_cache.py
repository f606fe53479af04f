"""The node's cache: bytes are read again when a file has changed and only then, and what nobody uses goes, the oldest first."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from core.manifest import ManifestFile, content_key
from core.spec import NamedDataset
from core.wire.worker import ContentSource
from tests.bed.waiting import until
from worker.cache_pruning import CacheLimits, prune_cache
from worker.cache_use import CacheUse
from worker.download import Downloader
from worker.materialise import Materialiser
from worker.patience import Patience
from worker.verified import read_record, record_of

MIB = 1 << 20
BIRDS = NamedDataset(name="birds", version=1)
NEVER = timedelta(days=50_000)
HOLD = """
import sys
from pathlib import Path
from worker.cache_use import CacheUse
uses = CacheUse()
uses.hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


class Shelf:
    """A source of objects that counts how often each is asked for."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.num_fetched = 0

    def put(self, path: str, data: bytes) -> ManifestFile:
        digest = hashlib.sha256(data).hexdigest()
        self.objects[digest] = data
        return ManifestFile(path=path, size=len(data), sha256=digest)

    @contextmanager
    def blob(self, sha256: str, *, start: int) -> Iterator[Iterator[bytes]]:
        self.num_fetched += 1
        yield iter([self.objects[sha256][start:]])


class Node:
    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.shelf = Shelf()

    def materialiser(self, uses: CacheUse) -> Materialiser:
        return Materialiser(self.cache, (), Downloader(self.shelf, Patience(threading.Event())), lambda: None, uses=uses)

    def dataset(self, *files: ManifestFile) -> Path:
        with closing(CacheUse()) as uses:
            return self.materialiser(uses).dataset(BIRDS, ContentSource(files=files))

    def model(self, *files: ManifestFile) -> Path:
        with closing(CacheUse()) as uses:
            return self.materialiser(uses).package(files)

    def entry(self, *files: ManifestFile) -> Path:
        return self.cache / "versions" / content_key(files)

    def prune(self, max_bytes: int, max_age: timedelta = NEVER) -> list[str]:
        return prune_cache(self.cache, CacheLimits(max_bytes=max_bytes, max_age=max_age))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "cache")


def bytes_read() -> int:
    """What this process has read so far, by the kernel's count."""
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counts["rchar"])


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_what_was_verified_is_not_read_again(node: Node, kind: str) -> None:
    files = (node.shelf.put("a.bin", os.urandom(4 * MIB)), node.shelf.put("b.bin", os.urandom(4 * MIB)))
    take = node.dataset if kind == "dataset" else node.model
    folder = take(*files)
    before = bytes_read()
    assert take(*files) == folder
    assert bytes_read() - before < MIB // 4
    assert node.shelf.num_fetched == 2
    assert [oct((folder / name).stat().st_mode & 0o777) for name in ("a.bin", "b.bin")] == ["0o444", "0o444"]


@pytest.mark.parametrize("kind", ["dataset", "model"])
@pytest.mark.parametrize("damage", ["changed", "changed under its old times", "replaced", "linked", "cut"])
def test_a_file_that_was_altered_is_noticed_and_fetched_anew(node: Node, kind: str, damage: str) -> None:
    files = (node.shelf.put("a.bin", b"a" * 1000), node.shelf.put("b.bin", b"b" * 1000))
    folder = (node.dataset if kind == "dataset" else node.model)(*files)
    victim = folder / "a.bin"
    times = victim.stat()
    if damage.startswith("changed"):
        victim.chmod(0o600)
        victim.write_bytes(b"A" * 1000)
    elif damage == "replaced":
        victim.with_name("new").write_bytes(b"A" * 1000)
        victim.with_name("new").replace(victim)
    elif damage == "linked":
        outside = node.cache / "outside"
        victim.rename(outside)
        victim.symlink_to(outside)
        outside.chmod(0o600)
        outside.write_bytes(b"A" * 1000)
    else:
        os.truncate(victim, 10)
    if damage == "changed under its old times":
        os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (node.dataset if kind == "dataset" else node.model)(*files) == folder
    assert not victim.is_symlink()
    assert {path.name: path.read_bytes()[:2] for path in folder.glob("*.bin")} == {"a.bin": b"aa", "b.bin": b"bb"}


def test_a_file_that_was_only_touched_is_compared_and_kept(node: Node) -> None:
    file = node.shelf.put("rows.csv", b"a,b\n1,2\n" * 1000)
    path = node.dataset(file)
    path.touch()
    before = bytes_read()
    assert node.dataset(file) == path
    assert bytes_read() - before >= file.size
    assert node.shelf.num_fetched == 1
    before = bytes_read()
    node.dataset(file)
    assert bytes_read() - before < file.size, "compared once"


def test_after_a_reboot_everything_is_compared_once(node: Node) -> None:
    file = node.shelf.put("rows.csv", b"a,b\n" * 100_000)
    node.dataset(file)
    record = record_of(node.entry(file))
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot": "another"}))
    before = bytes_read()
    node.dataset(file)
    assert bytes_read() - before >= file.size
    assert node.shelf.num_fetched == 1


def test_a_record_that_is_no_record_is_no_proof(node: Node) -> None:
    file = node.shelf.put("rows.csv", b"a,b\n")
    node.dataset(file)
    record_of(node.entry(file)).write_text('{"boot"')
    assert node.dataset(file).read_bytes() == b"a,b\n"
    assert read_record(node.entry(file)) is not None


def test_datasets_models_and_environments_share_one_limit_and_the_oldest_goes_first(node: Node) -> None:
    first, second = node.shelf.put("one", b"1" * 1000), node.shelf.put("two", b"2" * 1000)
    node.dataset(first)
    node.model(second)
    environment = node.cache / "environments" / "abc"
    environment.mkdir(parents=True)
    (environment / "ready.json").write_bytes(b"x" * 1000)
    for age, use in enumerate([node.entry(first), environment, node.cache / "models" / content_key([second])]):
        use.with_name(f".{use.name}.use").touch()
        os.utime(use.with_name(f".{use.name}.use"), (1000 + age, 1000 + age))
    assert node.prune(10_000) == []
    assert node.prune(2500) == [content_key([first])]
    assert list((node.cache / "versions").iterdir()) == [], "what lies beside an entry goes with it"
    assert node.prune(1500) == ["abc"]
    assert node.prune(0) == [content_key([second])]
    assert node.dataset(first).read_bytes() == b"1" * 1000, "it comes again"


def test_what_nobody_has_used_for_long_goes_whatever_its_size(node: Node) -> None:
    old, young = node.shelf.put("old", b"1"), node.shelf.put("young", b"2")
    for file in (old, young):
        node.dataset(file)
    os.utime(node.entry(old).with_name(f".{node.entry(old).name}.use"), (0, 0))
    assert node.prune(MIB, timedelta(days=30)) == [content_key([old])]


def test_a_download_that_broke_off_is_kept_to_be_gone_on_with(node: Node) -> None:
    part = node.cache / "versions" / ".abc.part"
    part.mkdir(parents=True)
    (part / "rows.csv").write_bytes(b"x" * 1000)
    half = node.cache / "environments" / ".def.lock"
    half.parent.mkdir()
    half.touch()
    assert node.prune(MIB) == []
    assert part.exists()
    assert list(half.parent.iterdir()) == [], "nothing lies beside that lock"
    assert node.prune(0) == ["abc"]


def test_what_a_live_process_uses_stays_until_its_kill(node: Node) -> None:
    file = node.shelf.put("rows.csv", b"a,b\n")
    node.dataset(file)
    entry = node.entry(file)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(entry)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert node.prune(0, timedelta()) == []
    assert node.dataset(file).read_bytes() == b"a,b\n"
    holder.kill()
    holder.wait(10)
    until(lambda: node.prune(0) == [entry.name], within=5, what="the dead one's lock is free")
    for pipe in (holder.stdin, holder.stdout):
        pipe.close()


USE_AND_READ = """
import sys, threading
from pathlib import Path
from contextlib import closing
from tests.worker.test_node_cache import Node
from worker.cache_use import CacheUse
from core.spec import NamedDataset
from core.wire.worker import ContentSource
node = Node(Path(sys.argv[1]))
files = tuple(node.shelf.put(f"{number}.bin", bytes([number]) * 5000) for number in range(8))
for _ in range(60):
    with closing(CacheUse()) as uses:
        folder = node.materialiser(uses).dataset(NamedDataset(name="birds", version=1), ContentSource(files=files))
        for number in range(8):
            assert (folder / f"{number}.bin").read_bytes() == bytes([number]) * 5000
print(node.shelf.num_fetched)
"""


def test_processes_that_use_an_entry_race_the_one_that_removes_it(node: Node) -> None:
    """Whoever was answered a folder finds every file in it for as long as it is held."""
    argv = [sys.executable, "-c", USE_AND_READ, str(node.cache)]
    readers = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    num_removed = 0
    while any(reader.poll() is None for reader in readers):
        num_removed += len(node.prune(0))
    ends = [reader.communicate() for reader in readers]
    assert [reader.returncode for reader in readers] == [0, 0, 0], ends
    assert num_removed > 0, "the race took place"
    assert sum(int(said) for said, _ in ends) >= 8

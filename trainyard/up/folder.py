"""The state folder: everything that the service on this machine keeps, for its owner alone.

connection.json   where it serves; read by the client
keys/admin        the first API key; keys/admin.header is the same for curl -H @FILE; keys/worker is the node's
trainyard.db      the ledger         bytes/   artifacts and checkpoints
node/             run directories, caches, device locks
redis/            the doorbell's append-only file (and its socket, where the path is short enough)
logs/             one file per process
up.lock           held by the running parent; the file stays, the kernel's lock goes with the process
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainyard.settings import ADMIN_KEY_FILE, CONNECTION_FILE, Connection
from trainyard.up.errors import UpError

LONGEST_SOCKET_PATH = 107  # sun_path has 108 bytes with its end, see unix(7)
LARGEST_LOG = 16 << 20
PREDECESSOR_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class StateFolder:
    root: Path

    @property
    def database(self) -> Path:
        return self.root / "trainyard.db"

    @property
    def bytes(self) -> Path:
        return self.root / "bytes"

    @property
    def node(self) -> Path:
        return self.root / "node"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def admin_key(self) -> Path:
        return self.root / ADMIN_KEY_FILE

    @property
    def admin_header(self) -> Path:
        return self.root / f"{ADMIN_KEY_FILE}.header"

    @property
    def worker_key(self) -> Path:
        return self.root / "keys" / "worker"

    @property
    def has_keys(self) -> bool:
        return self.admin_key.exists() and self.worker_key.exists()

    @property
    def connection(self) -> Path:
        return self.root / CONNECTION_FILE

    @property
    def ready(self) -> Path:
        return self.root / "ready"

    def is_ready(self, parent: int) -> bool:
        """Whether this parent has said that every part is up."""
        try:
            return self.ready.read_text() == str(parent)
        except FileNotFoundError:
            return False

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def prepare(self) -> None:
        """Makes the folders, and moves logs that have grown large out of the way."""
        for folder in (self.root, self.root / "logs", self.root / "keys", self.bytes, self.node, self.redis):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for log in (self.root / "logs").glob("*.log"):
            if log.stat().st_size > LARGEST_LOG:
                log.replace(log.with_suffix(".log.1"))

    def socket(self, runtime: Path) -> Path:
        """Where Redis listens: in the state folder, or in a short folder of this user's when the path would be too long."""
        here = self.redis / "redis.sock"
        if len(os.fsencode(here)) <= LONGEST_SOCKET_PATH:
            return here
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        folder = runtime / f"trainyard-{os.getuid()}-{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise UpError(f"{folder} belongs to someone else or is open to others: remove it, or choose a shorter --home")
        return folder / "redis.sock"

    def write_secret(self, path: Path, text: str) -> None:
        """A file that only its owner can read, in place whole or not at all."""
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        temporary.replace(path)

    def write_connection(self, url: str) -> None:
        temporary = self.connection.with_suffix(".new")
        temporary.write_text(Connection(url=url).model_dump_json())
        temporary.replace(self.connection)


@contextmanager
def locked(folder: StateFolder) -> Iterator[None]:
    """Holds the state folder while the block runs. UpError when another parent has it."""
    descriptor = os.open(folder.root / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "?"
            raise UpError(
                f"'trainyard up' is running already on {folder.root} (process {holder}): use it, stop it, or choose another --home"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def predecessors_gone(folder: StateFolder) -> Iterator[int]:
    """A lock for Redis and the API to inherit and never to touch: the kernel keeps it for as long as one of them lives.

    So what a killed parent left behind is waited for here, instead of two Redises meeting on one socket and one file.
    """
    descriptor = os.open(folder.root / "children.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + PREDECESSOR_SECONDS
        while not _is_locked(descriptor):
            if time.monotonic() > end:
                raise UpError(f"Redis or the API of an earlier 'trainyard up' on {folder.root} is still running: stop it first")
            time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

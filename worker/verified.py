"""Remembers that every byte of a cache entry was compared with its SHA-256, so that the next use need not read them all again.

The record lies beside the entry. It holds for as long as no file has another name, size, inode or time than when it was written, and for
as long as the machine runs: a power cut may leave a file with its size and without its bytes.
"""

import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.run_dir import write_atomically

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Record(BaseModel):
    model_config = ConfigDict(frozen=True)

    boot: str
    seen: str  # SHA-256 over what ``stat`` says of every file
    num_bytes: int


def record_of(entry: Path) -> Path:
    return entry.with_name(f".{entry.name}.verified")


def read_record(entry: Path) -> Record | None:
    try:
        return Record.model_validate_json(record_of(entry).read_bytes())
    except (OSError, ValidationError):
        return None


def is_verified(entry: Path, verify: Callable[[], bool]) -> bool:
    """Whether the entry is what it should be. ``verify`` reads all of it, and is asked only where a file is another than it was then.

    For one process at a time.
    """
    before = _look(entry)  # before the bytes are read: a change under way is noticed the next time
    if before is not None and before == read_record(entry):
        return True
    record_of(entry).unlink(missing_ok=True)
    if not verify():
        return False
    if before is not None:
        write_atomically(record_of(entry), before, durable=False)
    return True


def protect(folder: Path) -> None:
    """Makes the files read-only, against a slip of whoever reads them."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o444)


def _look(entry: Path) -> Record | None:
    """None where anything but files and folders lies in it: where a link leads may change without a trace."""
    seen, num_bytes = [], 0
    try:
        for path in sorted(entry.rglob("*")):
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode):
                continue
            if not stat.S_ISREG(found.st_mode):
                return None
            num_bytes += found.st_size
            seen.append((path.relative_to(entry).as_posix(), found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns))
        boot = BOOT_ID.read_text().strip()
    except OSError:
        return None
    if not seen:
        return None
    return Record(boot=boot, seen=hashlib.sha256(json.dumps(seen).encode()).hexdigest(), num_bytes=num_bytes)

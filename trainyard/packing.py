"""A folder of code as an archive: the same files give the same bytes, so that code which the server has is not sent again."""

import gzip
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from core.manifest import check_relative_path
from trainyard.errors import BadInput

LEFT_OUT = frozenset({".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
LEFT_OUT_ENDINGS = (".pyc", ".pyo")
MAX_FILES = 5000
MAX_BYTES = 200 << 20


def pack_code(folder: Path, target: BinaryIO) -> int:
    """Writes a gzipped tar of the regular files below ``folder`` and answers how many. BadInput when it is too large for code.

    Links are left out, and folders that tools fill: version control, environments, caches.
    """
    num_files = num_bytes = 0
    # No time and no name in the header: the bytes depend on the files alone.
    with gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0) as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
        for path in _files(folder):
            num_files, num_bytes = num_files + 1, num_bytes + path.stat().st_size
            if num_files > MAX_FILES or num_bytes > MAX_BYTES:
                limits = f"{MAX_FILES} files and {MAX_BYTES >> 20} MiB"
                raise BadInput(f"{folder} holds more than code does ({limits}): name a smaller folder with --code")
            _add(archive, path, path.relative_to(folder).as_posix())
    return num_files


def _files(folder: Path) -> Iterator[Path]:
    for here, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if name not in LEFT_OUT)
        for path in (Path(here, name) for name in sorted(files)):
            if path.is_file() and not path.is_symlink() and not path.name.endswith(LEFT_OUT_ENDINGS):
                yield path


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    try:
        entry = tarfile.TarInfo(check_relative_path(name))
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            entry.size, entry.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
            archive.addfile(entry, file)
    except ValueError as error:
        raise BadInput(f"{name!r} cannot be the name of a file here: {error}") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error}") from error

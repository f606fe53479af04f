"""One entry of an archive, as both readers hand it on."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """``pieces`` are the bytes, to be read before the next entry is asked for; a folder has none.

    ``archive_bytes`` says how much of the archive has been read when the entry is handed on; zip: how large the archive is.
    """

    name: str
    is_folder: bool = False
    is_executable: bool = False
    pieces: Iterable[bytes] = ()
    archive_bytes: "ArchiveBytes"


class ArchiveBytes:
    """A count that grows while pieces are read: what the bytes written are compared with."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

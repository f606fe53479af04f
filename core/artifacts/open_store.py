"""The byte store that the settings name."""

import math
from collections.abc import Callable

from core.access.project_keys import ProjectKeys
from core.artifacts.blob_keys import BlobKeys
from core.artifacts.content import Contents
from core.artifacts.s3_place import S3Place
from core.artifacts.sealed_content import SealedContents
from core.artifacts.sealed_store import SealedStore
from core.artifacts.store import ByteStore, FolderStore
from core.clock import Clock
from core.db.engine import Database
from core.settings import ApiSettings

Opener = Callable[[Contents | None], ByteStore]


def open_keys(settings: ApiSettings, db: Database, clock: Clock) -> BlobKeys | None:
    """The keys of encrypted objects; None without a master key."""
    return BlobKeys(db, ProjectKeys(settings.master_key.get_secret_value()), clock) if settings.master_key else None


def open_store(settings: ApiSettings, keys: BlobKeys | None = None) -> ByteStore:
    """A folder, or a bucket when ``store_url`` names one; with keys a layer over it that encrypts. Nothing is connected yet."""
    opener = _opener(settings)
    return opener(None) if keys is None else seal_store(opener, keys, encrypts=settings.encrypt_at_rest)


def seal_store(opener: Opener, keys: BlobKeys, *, encrypts: bool = True) -> SealedStore:
    """The layer over two stores of one place, which ``opener`` opens. A plain copy goes when its encrypted one has its place."""
    plain = opener(None)
    sealed = opener(SealedContents(keys, lambda sha256: _forget(plain, sha256)))
    return SealedStore(sealed, plain, keys, encrypts=encrypts)


def _forget(plain: ByteStore, sha256: str) -> None:
    plain.delete(sha256, older_than=math.inf)


def _opener(settings: ApiSettings) -> Opener:
    if settings.store_url is None:
        return lambda contents: FolderStore(settings.data_dir, contents=contents)
    from core.artifacts.s3_store import S3Store  # noqa: PLC0415  # why: the driver costs memory that a folder does not need

    return lambda contents: S3Store(S3Place.of(settings), settings.data_dir, contents=contents)

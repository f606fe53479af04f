"""Uploads that do not pass through this process: where to put them, and taking over what was put."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from core.artifacts.store import ByteStore
from core.artifacts.upload import UploadKey
from core.errors import BlobMissing
from core.wire.worker import DirectPut

# Of their own, and few: each reads a whole object back.
_verifiers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="verify")


def direct_put(store: ByteStore, key: UploadKey, size: int) -> DirectPut | None:
    """Where the store takes an object of this size at once; None where it cannot."""
    place = store.direct.upload_to(key, size) if store.direct is not None else None
    return None if place is None else DirectPut(url=place.url, headers=place.headers)


async def take_over(store: ByteStore, key: UploadKey, size: int) -> None:
    """Verifies what was put and makes it an object. BlobMissing, DigestMismatch, Unavailable."""
    direct = store.direct
    if direct is None:
        raise BlobMissing([key.sha256])
    await asyncio.get_running_loop().run_in_executor(_verifiers, direct.adopt, key, size)

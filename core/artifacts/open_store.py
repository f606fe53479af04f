"""The byte store that the settings name."""

from core.artifacts.s3_place import S3Place
from core.artifacts.store import ByteStore, FolderStore
from core.settings import ApiSettings


def open_store(settings: ApiSettings) -> ByteStore:
    """A folder, or a bucket when ``store_url`` names one. Nothing is connected yet."""
    if settings.store_url is None:
        return FolderStore(settings.data_dir)
    from core.artifacts.s3_store import S3Store  # noqa: PLC0415  # why: the driver costs memory that a folder does not need

    return S3Store(S3Place.of(settings), settings.data_dir)

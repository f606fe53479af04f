"""Adds one file to the version that takes uploads; there is one such version at most, opened by its first file."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from core.datasets.finding import lock_dataset, open_version
from core.datasets.transitions import create_version
from core.datasets.tree import folder_keys, path_key
from core.db.base import AnyRow
from core.db.dataset_tables import dataset_files, dataset_versions
from core.errors import InvalidInput, Problem
from core.manifest import ManifestFile
from core.wire.datasets import MAX_FILES, DatasetFile


def add_file(tx: Connection, project_id: str, name: str, file: ManifestFile, now: datetime) -> DatasetFile:
    """The bytes are noted as the project's. A file of the same path is replaced; InvalidInput when it collides with another."""
    dataset = lock_dataset(tx, project_id, name)
    version = open_version(tx, dataset.id)
    if version is None:
        create_version(tx, dataset.id, now=now)
        version = open_version(tx, dataset.id)
        assert version is not None
    replaced = _find_collision(tx, version.id, file)
    if replaced is None and version.num_files >= MAX_FILES:
        raise InvalidInput(f"a version has {MAX_FILES} files at most", param="path")
    _store(tx, version, file, replaced)
    return DatasetFile(dataset=name, version=version.number, path=file.path, size=file.size, sha256=file.sha256)


def _find_collision(tx: Connection, version_id: str, file: ManifestFile) -> AnyRow | None:
    """The row that this file replaces."""
    key = path_key(file.path)
    columns = (dataset_files.c.path_key, dataset_files.c.path, dataset_files.c.size)
    in_the_way = select(*columns).where(
        dataset_files.c.version_id == version_id, dataset_files.c.path_key.in_([key, *folder_keys(file.path)])
    )
    replaced = None
    for row in tx.execute(in_the_way):
        if row.path_key != key:
            raise InvalidInput(problems=[Problem("/path/path", f"{row.path!r} is a file, not a folder", "duplicate")])
        if row.path != file.path:
            raise InvalidInput(problems=[Problem("/path/path", f"{row.path!r} is there, and differs in case alone", "duplicate")])
        replaced = row
    return replaced


def _store(tx: Connection, version: AnyRow, file: ManifestFile, replaced: AnyRow | None) -> None:
    key = path_key(file.path)
    columns: dict[str, Any] = {"size": file.size, "sha256": file.sha256}
    if replaced is None:
        tx.execute(insert(dataset_files).values(version_id=version.id, path_key=key, path=file.path, **columns))
    else:
        same = (dataset_files.c.version_id == version.id, dataset_files.c.path_key == key)
        tx.execute(update(dataset_files).where(*same).values(**columns))
    num_files = version.num_files + (replaced is None)
    num_bytes = version.num_bytes + file.size - (replaced.size if replaced else 0)
    tx.execute(update(dataset_versions).where(dataset_versions.c.id == version.id).values(num_files=num_files, num_bytes=num_bytes))

"""Reads of models, their versions, files and history."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from sqlalchemy import Connection, Select, func, select

from core.artifacts.artifacts import MEDIA_TYPES
from core.db.base import AnyRow
from core.db.model_tables import model_aliases, model_events, model_files, model_versions, models
from core.errors import NotFound
from core.manifest import ManifestFile
from core.models.finding import VERSIONS, find_model, find_version
from core.wire.base import Page, page_of
from core.wire.models import ModelEvent, ModelFile, ModelVersion, RegisteredModel

_FILES: Select[tuple[str, int, str]] = select(model_files.c.path, model_files.c.size, model_files.c.sha256)


def get_model(tx: Connection, project_id: str, name: str) -> RegisteredModel:
    return _models(tx, [find_model(tx, project_id, name)])[0]


def list_models(tx: Connection, project_id: str, *, after: str | None = None, limit: int = 50) -> Page[RegisteredModel]:
    """Newest first."""
    query = select(models).where(models.c.project_id == project_id).order_by(models.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(models.c.id < after)
    return page_of(_models(tx, tx.execute(query).all()), limit)


def get_version(tx: Connection, project_id: str, name: str, reference: int | str) -> ModelVersion:
    """``reference`` is a number, an alias or ``latest``; NotFound for a version that is not there."""
    return version_model(tx, find_version(tx, project_id, name, reference))


def list_versions(tx: Connection, project_id: str, name: str, *, after: str | None = None, limit: int = 50) -> Page[ModelVersion]:
    """Newest first."""
    model = find_model(tx, project_id, name)
    query = VERSIONS.where(model_versions.c.model_id == model.id).order_by(model_versions.c.number.desc()).limit(limit + 1)
    if after is not None:
        cursor = model_versions.alias()
        number = select(cursor.c.number).where(cursor.c.id == after, cursor.c.model_id == model.id).scalar_subquery()
        query = query.where(model_versions.c.number < number)
    return page_of(version_models(tx, tx.execute(query).all()), limit)


def list_files(tx: Connection, project_id: str, name: str, reference: int | str) -> list[ModelFile]:
    """Every file of a version, in path order."""
    version = find_version(tx, project_id, name, reference)
    return [_file(row) for row in tx.execute(_files_of(version.id))]


def get_file(tx: Connection, project_id: str, name: str, reference: int | str, path: str) -> ModelFile:
    """The file with exactly this path; a path that no version may hold is NotFound like any other."""
    version = find_version(tx, project_id, name, reference)
    try:
        path.encode()
    except UnicodeEncodeError:  # a lone surrogate
        raise NotFound from None
    if "\0" in path:
        raise NotFound
    row = tx.execute(_FILES.where(model_files.c.version_id == version.id, model_files.c.path == path)).one_or_none()
    if row is None:
        raise NotFound
    return _file(row)


def manifest_files(tx: Connection, version_id: str) -> tuple[ManifestFile, ...]:
    """The files of a version as a worker is told of them."""
    return tuple(ManifestFile(path=row.path, size=row.size, sha256=row.sha256) for row in tx.execute(_files_of(version_id)))


def list_model_events(
    tx: Connection, project_id: str, name: str, *, after: int = 0, limit: int = 100, alias: str | None = None
) -> list[ModelEvent]:
    """At most ``limit`` lines of the history behind the one numbered ``after``, oldest first; of one alias alone where it is named."""
    model = find_model(tx, project_id, name)
    query = select(model_events).where(model_events.c.model_id == model.id, model_events.c.seq > after)
    if alias is not None:
        query = query.where(model_events.c.alias == alias)
    rows = tx.execute(query.order_by(model_events.c.seq).limit(limit))
    return [ModelEvent.model_validate({**row._mapping, "by": row.key_id}) for row in rows]


def version_model(tx: Connection, row: AnyRow) -> ModelVersion:
    """``row`` is one of ``VERSIONS``."""
    return version_models(tx, [row])[0]


def version_models(tx: Connection, rows: Sequence[AnyRow]) -> list[ModelVersion]:
    aliases: dict[str, list[str]] = {row.id: [] for row in rows}
    query = select(model_aliases.c.version_id, model_aliases.c.alias).where(model_aliases.c.version_id.in_(aliases))
    for version_id, alias in tx.execute(query.order_by(model_aliases.c.alias)):
        aliases[version_id].append(alias)
    return [ModelVersion.model_validate({**row._mapping, "version": row.number, "aliases": aliases[row.id]}) for row in rows]


def _files_of(version_id: str) -> Select[tuple[str, int, str]]:
    return _FILES.where(model_files.c.version_id == version_id).order_by(model_files.c.position)


def _file(row: AnyRow) -> ModelFile:
    media_type = MEDIA_TYPES.get(PurePosixPath(row.path).suffix.lower(), "application/octet-stream")
    return ModelFile(path=row.path, size=row.size, sha256=row.sha256, media_type=media_type)


def _models(tx: Connection, rows: Sequence[AnyRow]) -> list[RegisteredModel]:
    ids = [row.id for row in rows]
    newest = select(model_versions.c.model_id, func.max(model_versions.c.number)).where(model_versions.c.model_id.in_(ids))
    latest: dict[str, int] = {model_id: number for model_id, number in tx.execute(newest.group_by(model_versions.c.model_id))}
    aliases = _aliases(tx, ids)
    return [
        RegisteredModel(
            id=row.id,
            name=row.name,
            description=row.description,
            latest_version=latest.get(row.id),
            aliases=aliases[row.id],
            created_at=row.created_at,
        )
        for row in rows
    ]


def _aliases(tx: Connection, model_ids: Iterable[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {model_id: {} for model_id in model_ids}
    columns = (model_aliases.c.model_id, model_aliases.c.alias, model_versions.c.number)
    query = select(*columns).join_from(model_aliases, model_versions, model_aliases.c.version_id == model_versions.c.id)
    for row in tx.execute(query.where(model_aliases.c.model_id.in_(found)).order_by(model_aliases.c.alias)):
        found[row.model_id][row.alias] = row.number
    return found

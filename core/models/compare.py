"""Two versions side by side: metrics, data, files and specs."""

import json
from typing import Any, Literal

from sqlalchemy import Connection, select

from core.artifacts.store import ByteStore
from core.db.base import AnyRow
from core.db.tables import jobs
from core.models.digests import content_digest, spec_differences
from core.models.finding import find_version
from core.models.queries import manifest_files, version_model
from core.recipes.sections.directions import higher_is_better
from core.wire.models import MetricComparison, ModelComparison


def compare(tx: Connection, store: ByteStore, project_id: str, name: str, *, a: int | str, b: int | str) -> ModelComparison:
    """``a`` and ``b`` are numbers, aliases or ``latest``; NotFound for a version that is not there."""
    left, right = (find_version(tx, project_id, name, reference) for reference in (a, b))
    specs = [_spec(tx, version) for version in (left, right)]
    names = sorted({*left.metrics, *right.metrics})
    return ModelComparison(
        a=version_model(tx, left),
        b=version_model(tx, right),
        metrics={metric: _metric(metric, left.metrics.get(metric), right.metrics.get(metric)) for metric in names},
        same_files=left.digest == right.digest,
        same_data=_same_data(tx, store, left, right),
        spec_differences=None if specs[0] is None or specs[1] is None else spec_differences(specs[0], specs[1]),
    )


def _spec(tx: Connection, version: AnyRow) -> dict[str, Any] | None:
    text = tx.scalar(select(jobs.c.spec).where(jobs.c.id == version.job_id)) if version.job_id else None
    spec: dict[str, Any] | None = json.loads(text) if text else None
    return spec


def _metric(name: str, a: float | None, b: float | None) -> MetricComparison:
    if a is None or b is None:
        return MetricComparison(a=a, b=b, difference=None, better=None)
    return MetricComparison(a=a, b=b, difference=b - a, better=_better(higher_is_better(name), b - a))


def _better(higher: bool | None, difference: float) -> Literal["a", "b", "same"] | None:
    if difference == 0:
        return "same"
    return None if higher is None else "b" if (difference > 0) == higher else "a"


def _same_data(tx: Connection, store: ByteStore, left: AnyRow, right: AnyRow) -> bool | None:
    """By what the packages say of the content they were trained on; where they say nothing, by what the specs name."""
    contents = [content_digest(store, manifest_files(tx, version.id)) for version in (left, right)]
    if None in contents:
        contents = [left.data_digest, right.data_digest]
    return None if None in contents else contents[0] == contents[1]

"""What a spec says, as digests and differences: which jobs saw the same data, and where two specs part."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from core.artifacts.store import ByteStore
from core.manifest import ManifestFile
from core.spec import JobSpec, PathDataset
from core.wire.models import SpecDifference

UNCOUNTED = frozenset({"name", "labels", "priority", "register_as"})  # they change nothing about the result
REPORT = "data_report.json"  # of a package, see trainer/package
MAX_REPORT_BYTES = 4 << 20


def data_digest(spec: JobSpec) -> str | None:
    """SHA-256 of the datasets that the spec names, by channel; None without any, and where a path says nothing of its contents."""
    channels = spec.channels()
    if not channels or any(isinstance(dataset, PathDataset) for dataset in channels.values()):
        return None
    return _digest({channel: dataset.model_dump(mode="json") for channel, dataset in channels.items()})


def spec_digest(spec: Mapping[str, Any]) -> str:
    return _digest(_counted(spec))


def content_digest(store: ByteStore, files: tuple[ManifestFile, ...]) -> str | None:
    """SHA-256 of the content that a package was trained on, as its own report has it; None where it has none."""
    report = next((file for file in files if file.path == REPORT and file.size <= MAX_REPORT_BYTES), None)
    if report is None:
        return None
    try:
        found = json.loads(b"".join(store.read(report.sha256, 0, report.size)))
    except (ValueError, RecursionError):
        return None
    digest = found.get("digest") if isinstance(found, dict) else None
    return digest if isinstance(digest, str) else None


def spec_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[SpecDifference]:
    """Every place where the two differ, in the order of their pointers. Lists are compared whole."""
    return list(_differences("", _counted(a), _counted(b)))


def _differences(pointer: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[SpecDifference]:
    for key in sorted({*a, *b}):
        place = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
        left, right = a.get(key), b.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            yield from _differences(place, left, right)
        elif left != right or (key in a) != (key in b):
            sides = {side: spec[key] for side, spec in (("a", a), ("b", b)) if key in spec}
            yield SpecDifference(pointer=place, **sides)


def _counted(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key not in UNCOUNTED}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

"""What the profile of a dataset tells about a job that would train on it."""

from pydantic import ValidationError
from sqlalchemy import Connection

from core.artifacts.artifacts import get_artifact
from core.artifacts.store import ByteStore
from core.datasets.queries import get_version
from core.errors import NotFound
from core.profile import PROFILE, Numbers, Profile
from core.recipes.sections.data import DataKnobs
from core.spec import MAIN_CHANNEL, JobSpec, NamedDataset
from core.wire.jobs import Artifact
from core.wire.outlook import DataOutlook

LARGEST_PROFILE = 16 << 20  # bytes; a larger one is not worth reading here


def find_profile(tx: Connection, project_id: str, spec: JobSpec) -> Artifact | None:
    """The profile of the main dataset; None for data that has no name, or no profile. The spec's names are settled already."""
    dataset = spec.channels().get(MAIN_CHANNEL)
    if not isinstance(dataset, NamedDataset) or dataset.version == "latest":
        return None
    version = get_version(tx, project_id, dataset.name, dataset.version)
    try:
        return get_artifact(tx, project_id, version.job_id or "", PROFILE)
    except NotFound:
        return None


def data_outlook(store: ByteStore, spec: JobSpec, profile: Artifact | None) -> DataOutlook | None:
    """Reads the profile from the store, so call it outside of any transaction; None where there is none that can be read."""
    dataset = spec.channels().get(MAIN_CHANNEL)
    if profile is None or profile.size > LARGEST_PROFILE or not isinstance(dataset, NamedDataset):
        return None
    try:
        return foretell(spec, dataset, Profile.model_validate_json(b"".join(store.read(profile.sha256, 0, profile.size))))
    except (FileNotFoundError, ValidationError):
        return None


def foretell(spec: JobSpec, dataset: NamedDataset, profile: Profile) -> DataOutlook:
    """``dataset`` is the version that the spec means and ``profile`` its validation's."""
    assert isinstance(dataset.version, int)
    return DataOutlook(
        name=dataset.name,
        version=dataset.version,
        splits=profile.splits,
        num_training_rows=num_training_rows(spec, profile),
        truncated_share=truncated_share(spec, profile),
        drifts=profile.drifts,
        warnings=profile.warnings,
    )


def num_training_rows(spec: JobSpec, profile: Profile) -> int | None:
    """About: rows that cleaning would drop are counted too. None for a spec that splits nothing."""
    if not isinstance(spec.data, DataKnobs):
        return None
    if "train" not in profile.splits:
        return round(profile.num_rows * (1 - spec.data.validation_fraction - spec.data.test_fraction))
    rows = profile.splits["train"]
    return rows if "validation" in profile.splits else round(rows * (1 - spec.data.validation_fraction))


def truncated_share(spec: JobSpec, profile: Profile) -> float | None:
    """Of texts that have more tokens than the spec keeps, by the profile's estimate of tokens; None where texts are not cut."""
    longest = getattr(getattr(spec.data, "tokenizer", None), "max_length", None)
    used = profile.columns_used.get("text")
    lengths = next((column.lengths for column in profile.columns if column.name == used), None)
    if not isinstance(longest, int) or lengths is None:
        return None
    return _share_above(lengths.tokens, longest)


def _share_above(numbers: Numbers, bound: float) -> float:
    """By the histogram: the bin that the bound lies in counts by the part of it that is above."""
    total = sum(numbers.histogram)
    if bound >= numbers.max or not total:
        return 0.0
    width = (numbers.max - numbers.min) / len(numbers.histogram)
    above = 0.0
    for place, num in enumerate(numbers.histogram):
        start = numbers.min + place * width
        above += num * min(max((start + width - bound) / width, 0.0), 1.0) if width else num * (numbers.min > bound)
    return above / total

"""Steps of a preparation against what the validation of their dataset has found: what cannot be done is refused before there is a job."""

from collections.abc import Sequence

from pydantic import ValidationError

from core.artifacts.store import ByteStore
from core.datasets.outlook import LARGEST_PROFILE
from core.errors import InvalidInput, Problem
from core.profile import Profile
from core.recipes.dataset_preparation import DatasetPreparationSpec, FixEncoding
from core.recipes.preparable import AUDIO_ARCHIVE, Described, columns_of, problems_of
from core.recipes.sections.data import DataKnobs
from core.spec import JobSpec, Section
from core.wire.jobs import Artifact

SPLIT_COLUMN = DataKnobs().split_column


def check_preparation(store: ByteStore, spec: JobSpec, profile: Artifact | None) -> None:
    """InvalidInput with the place of every step that means nothing to the dataset.

    Reads the profile from the store, so call it outside of any transaction. Without a profile that can be read nothing is refused:
    the job looks again in any case.
    """
    if not isinstance(spec, DatasetPreparationSpec) or profile is None or profile.size > LARGEST_PROFILE:
        return
    try:
        found = Profile.model_validate_json(b"".join(store.read(profile.sha256, 0, profile.size)))
    except (FileNotFoundError, ValidationError):
        return
    steps = spec.data.steps
    if not found.valid and isinstance(steps[0], FixEncoding):
        return  # what was read in the wrong encoding tells nothing
    problems = problems_of(steps, described(found, steps))
    refused = [Problem(f"/data/steps/{number}", message, "not_applicable") for number, message in problems]
    if refused:
        raise InvalidInput(problems=refused)


def described(profile: Profile, steps: Sequence[Section]) -> Described:
    """What a profile tells for certain: where the recipe was named by hand, or rows cannot be read, columns may be others."""
    names = tuple(column.name for column in profile.columns)
    knows_columns = bool(names) and profile.valid and profile.images is None and profile.audio is None
    names_split = any(SPLIT_COLUMN in columns_of(step) for step in steps)  # which the rows may have turned into splits, or not
    # Of an archive a profile tells that recordings lie in it, and nothing of the columns of its table.
    knows_roles = profile.valid and not profile.is_task_told and profile.format != AUDIO_ARCHIVE
    roles = profile.columns_used if knows_roles else None
    return Described(
        profile.format,
        names if knows_columns and not names_split else None,
        has_audio=None if roles is None else "audio" in roles,
        has_tags=None if roles is None else {"tokens", "tags"} <= roles.keys(),
    )

"""``preparation.json``: what each step of a preparation did, and all that another run needs to do the same."""

from typing import Any, Literal

from core.profile import ProfileModel

PREPARATION = "preparation.json"
DATA = "data"  # the folder of artifacts in which the new dataset lies


class StepDone(ProfileModel):
    """``fitted``: what was learned from the data, such as means by column. ``num_changed`` counts cells, or rows that moved."""

    do: str
    rows_in: int
    rows_out: int
    num_changed: int = 0
    fitted: dict[str, Any] = {}


class Preparation(ProfileModel):
    """``splits``: rows of the result by split; ``all`` where there is none. ``spec`` are the steps as they were asked for."""

    version: Literal[1] = 1
    format: str
    seed: int
    rows_in: int
    rows_out: int
    splits: dict[str, int]
    num_rows_left_out: int = 0
    steps: list[StepDone]
    spec: list[dict[str, Any]]

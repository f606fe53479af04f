"""What is likely to become of a job: told before it is submitted, from earlier jobs, the queue, and what is known of its data."""

from pydantic import Field

from core.profile import Caution, Drift
from core.wire.base import WireModel


class QueueAhead(WireModel):
    """Jobs that would be claimed before this one. ``seconds`` is null where nothing has run yet, or no node could take the job."""

    num_jobs: int
    seconds: float | None = Field(description="about how long until it starts, at the pace of the jobs that ended last")


class Estimate(WireModel):
    """Null is what nobody can tell yet: time and memory are those of your project's earlier jobs with the same model and batch."""

    num_training_rows: int | None = None
    num_steps: int | None = None
    seconds: float | None = Field(default=None, description="from the first step to the last, evaluations included")
    memory_bytes: float | None = Field(default=None, description="of one device; of a CPU slot, what its process held")
    from_jobs: list[str] = Field(default=[], description="the earlier jobs that time and memory are taken from")


class DataOutlook(WireModel):
    """What the validation of the dataset found that matters to this job."""

    name: str
    version: int
    splits: dict[str, int] = Field(description="rows by split; `all` where no files or column say splits")
    num_training_rows: int | None = Field(default=None, description="about: what the spec leaves for validation and test is taken off")
    truncated_share: float | None = Field(default=None, description="about: of the texts, those with more tokens than are kept")
    drifts: list[Drift] = Field(default=[], description="how differently labels are spread over splits")
    warnings: list[Caution] = []

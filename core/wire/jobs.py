"""Jobs, attempts, events and what they carry, as a client sees them."""

from typing import Any, Literal

from pydantic import Field, JsonValue

from core.recipes import AnyJobSpec
from core.states import AttemptState, JobState, Phase, Reason
from core.wire.base import Instant, WireModel
from core.wire.outlook import DataOutlook, Estimate, QueueAhead


class Progress(WireModel):
    """Where a running attempt stands."""

    phase: Phase
    step: int = 0
    total_steps: int | None = None
    epoch: int | None = Field(default=None, description="the one being trained, counted from 0")
    total_epochs: int | None = None
    checkpoint_step: int | None = Field(default=None, description="step of the newest checkpoint on the node")
    at: float | None = Field(default=None, description="Unix seconds by the node's clock")


class PhaseSpan(WireModel):
    """One stretch of work of the newest attempt; ``ended_at`` is null while it lasts."""

    phase: Phase
    started_at: Instant
    ended_at: Instant | None = None


class Failure(WireModel):
    """Why an attempt failed, with the evidence."""

    reason: Reason
    message: str
    attempt: int | None = None
    rank: int | None = None
    exit_code: int | None = Field(default=None, description="the rank's own; negative: killed by this signal")
    stack: str | None = None
    log_tail: str | None = Field(default=None, description="the last lines that the failing rank printed")


class Job(WireModel):
    object: Literal["job"] = "job"
    id: str
    name: str | None
    recipe: str
    state: JobState
    is_terminal: bool
    reason: Reason | None = Field(description="why the job is where it is, once an attempt has ended")
    waiting_for: str | None = Field(default=None, description="what a queued job waits for, in words")
    phase: Phase | None = None
    phases: list[PhaseSpan] = []
    progress: Progress | None = None
    seconds_left: float | None = Field(default=None, description="estimate for the present phase")
    num_attempts: int
    failure: Failure | None = None
    metrics: dict[str, float] = Field(default={}, description="final metrics of a finished job, else the newest values")
    spec: AnyJobSpec
    labels: dict[str, str]
    priority: int
    created_at: Instant
    updated_at: Instant
    available_at: Instant = Field(description="not claimed before this instant")
    started_at: Instant | None = None
    finished_at: Instant | None = None
    cancel_requested_at: Instant | None = None


class Attempt(WireModel):
    object: Literal["attempt"] = "attempt"
    id: str
    job_id: str
    number: int
    state: AttemptState
    is_terminal: bool
    reason: Reason | None = None
    forced: bool = Field(default=False, description="the ranks had to be killed")
    launched: Literal["warm", "cold"] | None = None
    worker: str | None = Field(default=None, description="name of the node")
    devices: list[int] = []
    resumed_from_step: int | None = None
    progress: Progress | None = None
    failure: Failure | None = None
    created_at: Instant
    started_at: Instant | None = None
    finished_at: Instant | None = None


class Event(WireModel):
    """One entry of a job's journal; ``seq`` counts from 1 without a gap."""

    object: Literal["event"] = "event"
    seq: int
    type: str = Field(description="a fixed word such as job.submitted, attempt.started, checkpoint.stored")
    at: Instant
    attempt: int | None = None
    message: str
    data: dict[str, JsonValue] = {}


class Checkpoint(WireModel):
    object: Literal["checkpoint"] = "checkpoint"
    id: str
    job_id: str
    attempt: int
    step: int
    num_bytes: int
    is_best: bool = False
    metrics: dict[str, float] = {}
    created_at: Instant


class Artifact(WireModel):
    object: Literal["artifact"] = "artifact"
    id: str
    job_id: str
    attempt: int
    path: str
    size: int
    sha256: str
    media_type: str
    created_at: Instant


class MetricSeries(WireModel):
    """One metric's points in step order, thinned to at most ``max_points`` with every bucket's minimum and maximum kept."""

    name: str
    steps: list[int]
    values: list[float | None] = Field(description="null stands for NaN and infinities")
    times: list[float] = Field(description="Unix seconds")
    num_points: int = Field(description="how many points the ledger holds")
    minimum: float | None = None
    maximum: float | None = None
    last: float | None = None


class JobMetrics(WireModel):
    object: Literal["metrics"] = "metrics"
    job_id: str
    attempt: int | None = None
    series: list[MetricSeries]


class LogStream(WireModel):
    """What one rank has printed on one stream of one attempt."""

    attempt: int
    rank: int
    stream: Literal["stdout", "stderr"]
    size: int = Field(description="bytes stored so far")
    is_truncated: bool = Field(default=False, description="the size limit was reached; later output was dropped")
    is_closed: bool = False


class LogPage(WireModel):
    object: Literal["log"] = "log"
    job_id: str
    attempt: int
    rank: int
    stream: Literal["stdout", "stderr"]
    offset: int = Field(description="of the first byte of text")
    next_offset: int = Field(description="ask for this next")
    text: str = Field(description="UTF-8, undecodable bytes replaced")
    is_complete: bool = Field(description="nothing will follow")
    streams: list[LogStream] = []


class ValidationReport(WireModel):
    """The answer of a dry run: the spec with every default filled in."""

    object: Literal["validation"] = "validation"
    valid: Literal[True] = True
    spec: AnyJobSpec
    waiting_for: str | None = Field(default=None, description="what the job would wait for if it were submitted now")
    queue: QueueAhead | None = None
    estimate: Estimate | None = None
    data: DataOutlook | None = Field(default=None, description="of a dataset by name")


class Recipe(WireModel):
    object: Literal["recipe"] = "recipe"
    name: str
    summary: str
    description: str
    metrics: list[str]
    json_schema: dict[str, Any]

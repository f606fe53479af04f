"""What workers and supervisors say to the API (``/v1/worker/...``) and what it answers."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from core.manifest import Manifest, ManifestFile
from core.recipes import AnyJobSpec
from core.states import Control, Reason
from core.wire.base import Instant, UploadReply, WireModel, WireRequest
from core.wire.jobs import Progress

NodeName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$")]
MetricName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
PROTOCOL = 1


class DeviceInfo(WireRequest):
    index: int = Field(ge=0)
    name: str = Field(max_length=256)
    memory_bytes: int | None = Field(default=None, ge=0)


class Isolation(WireRequest):
    """What a node puts around scripts. ``strict``: another user for each, and nothing open but what a job needs."""

    level: Literal["none", "limits", "confined", "strict"] = "none"
    walls: tuple[str, ...] = Field(default=(), max_length=16)
    lacks: tuple[str, ...] = Field(default=(), max_length=16, description="why it is not more")


class RegisterRequest(WireRequest):
    """Who a worker is. The same name registers again after a restart and keeps its id."""

    name: NodeName
    protocol: int = Field(description="a server that speaks another one refuses, so that an old worker does no damage")
    version: str = Field(max_length=64)
    accelerator: Literal["cpu", "cuda"]
    devices: tuple[DeviceInfo, ...] = Field(max_length=64)
    torch_version: str | None = Field(default=None, max_length=64)
    launch: Literal["warm", "cold"] = "warm"
    isolation: Isolation = Isolation()


class RegisterReply(WireModel):
    worker_id: str
    lease_ttl_seconds: float
    is_draining: bool


class HeartbeatRequest(WireRequest):
    worker_id: str
    free_devices: tuple[int, ...] = ()
    launch: Literal["warm", "cold"] = "warm"


class HeartbeatReply(WireModel):
    is_draining: bool
    has_work: bool = Field(description="a queued job would fit now; the worker looks without waiting for its poll")


class DrainRequest(WireRequest):
    """A node asks to be taken out of service."""

    worker_id: str


class ClaimRequest(WireRequest):
    """Offers exactly the devices that the worker has locked."""

    worker_id: str
    devices: tuple[int, ...] = Field(max_length=64)


class CheckpointSource(WireModel):
    """A committed checkpoint to resume from; the node prefers a verified local copy of the same step."""

    attempt_id: str
    attempt: int
    step: int
    manifest: Manifest


class ContentSource(WireModel):
    """Files that an attempt may download, each by its SHA-256."""

    files: tuple[ManifestFile, ...]


class ModelSource(ContentSource):
    """The package that ``base_model`` names."""

    job_id: str | None = Field(default=None, description="the job that made it; null for uploaded files")


class Claim(WireModel):
    """One attempt, and the lease that alone may write for it."""

    job_id: str
    attempt_id: str
    attempt: int
    lease_token: str = Field(repr=False)
    lease_ttl_seconds: float
    spec: AnyJobSpec
    devices: tuple[int, ...]
    checkpoints: tuple[CheckpointSource, ...] = Field(default=(), description="newest first")
    base_model: ModelSource | None = None
    datasets: dict[str, ContentSource] = Field(default={}, description="the named datasets of the spec, by channel")
    secrets: dict[str, str] = Field(default={}, repr=False, description="values of the secrets that the spec names; those there are")
    seconds_left: float | None = Field(default=None, description="of timeout_seconds, counted over all attempts")


class StartRequest(WireRequest):
    resumed_from_step: int | None = Field(default=None, ge=0, le=2**31 - 1)
    launched: Literal["warm", "cold"]
    pid: int | None = None


class RenewRequest(WireRequest):
    """Renews at once; then the answer waits up to ``wait_seconds`` for a control word other than ``seen``."""

    wait_seconds: float = Field(default=0, ge=0, le=60)
    seen: Control = Control.CONTINUE


class RenewReply(WireModel):
    control: Control
    lease_ttl_seconds: float


class SeriesPoints(WireRequest):
    """Points of one metric; the three lists are equally long and steps do not fall."""

    steps: list[Annotated[int, Field(ge=0, le=2**53)]] = Field(max_length=10_000)
    values: list[float | None] = Field(max_length=10_000, description="null stands for NaN")
    times: list[float] = Field(max_length=10_000)


class MetricsRequest(WireRequest):
    """One batch; a ``seq`` that was accepted before is a no-op, so a retry never doubles a point."""

    seq: int = Field(ge=1, le=2**31 - 1)
    series: dict[MetricName, SeriesPoints] = Field(default={}, max_length=256)
    progress: Progress | None = None


class LogReply(WireModel):
    next_offset: int
    is_truncated: bool = False


class DirectPut(WireModel):
    """One PUT of a whole object straight to where the bytes lie, with exactly these headers and no other credential."""

    url: str
    headers: dict[str, str] = {}


class UploadStatus(UploadReply):
    direct: DirectPut | None = Field(default=None, description="set where the bytes need not pass through the service")


class CheckpointRequest(WireRequest):
    step: int = Field(ge=0, le=2**31 - 1)
    manifest: Manifest
    is_best: bool = False
    metrics: dict[MetricName, float] = {}


class ArtifactsRequest(WireRequest):
    manifest: Manifest


class EventRequest(WireRequest):
    """Something worth a line in the job's journal, such as a checkpoint that was found corrupt."""

    type: Annotated[str, StringConstraints(pattern=r"^[a-z_.]{1,64}$")]
    message: Annotated[str, StringConstraints(max_length=2000)]


class FinishRequest(WireRequest):
    """How the attempt ended. Everything it had to ship has been shipped before."""

    reason: Reason
    message: str = Field(default="", max_length=20_000)
    forced: bool = False
    rank: int | None = None
    exit_code: int | None = None
    stack: str | None = Field(default=None, max_length=100_000)
    log_tail: str | None = Field(default=None, max_length=100_000)
    metrics: dict[MetricName, float] = {}
    step: int | None = None
    weights_sha256: str | None = None


class FinishReply(WireModel):
    job_id: str
    job_state: str
    retry_at: Instant | None = None


class Worker(WireModel):
    """A node as an operator sees it."""

    object: Literal["worker"] = "worker"
    id: str
    name: str
    state: Literal["online", "draining", "drained", "offline"]
    accelerator: Literal["cpu", "cuda"]
    devices: list[DeviceInfo]
    num_busy: int
    jobs: list[str] = Field(default=[], description="ids of the caller's project's jobs that run here")
    launch: Literal["warm", "cold"]
    isolation: Isolation
    version: str
    torch_version: str | None
    last_seen_at: Instant
    created_at: Instant

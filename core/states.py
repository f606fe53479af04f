"""The whole state machine as data: which states exist, which moves are legal, and what each reason for an ending does.

``docs/STATES.md`` is generated from these tables. The only writer of a state column is ``core/jobs/transitions.py``.
"""

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    QUEUED = "queued"  # waits for a dataset, a worker, a retry's time or devices; see ``waiting_for``
    RUNNING = "running"  # an attempt holds a lease
    PAUSING = "pausing"  # asked to pause; the attempt is writing a checkpoint
    PAUSED = "paused"  # holds no devices until resumed
    CANCELLING = "cancelling"  # asked to cancel; the attempt is being stopped
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    LEASED = "leased"  # claimed by a worker, not started yet
    RUNNING = "running"  # the supervisor has reported that it started
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # its lease ran out; written by the reaper alone


class Phase(StrEnum):
    """What a running job is doing."""

    PREPARING = "preparing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    PACKAGING = "packaging"
    UPLOADING = "uploading"


class Control(StrEnum):
    """The word that a renewed lease brings back to the supervisor."""

    CONTINUE = "continue"
    PAUSE = "pause"
    CANCEL = "cancel"
    DRAIN = "drain"


class Reason(StrEnum):
    """Why an attempt ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    DRAINED = "drained"
    PREEMPTED = "preempted"
    USER_ERROR = "user_error"
    INVALID_DATA = "invalid_data"
    NUMERIC = "numeric"
    OUT_OF_MEMORY = "out_of_memory"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    TIMED_OUT = "timed_out"
    LIMIT = "limit"
    RANK_DIED = "rank_died"
    HANG = "hang"
    STORAGE = "storage"
    PROTOCOL = "protocol"
    NODE_LOST = "node_lost"


class Budget(StrEnum):
    """What a failure is counted against."""

    USER = "user"  # retried only when the spec's ``retry.on`` names the reason
    INFRASTRUCTURE = "infrastructure"  # retried without asking; counted since the last checkpoint progress
    NODE = "node"  # the same, for lost nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one reason does to the attempt and, when nobody asked for anything else, to the job."""

    attempt: AttemptState
    job: JobState
    budget: Budget | None = None
    meaning: str


class DatasetState(StrEnum):
    """Of one version of a dataset."""

    UPLOADING = "uploading"  # files are still added, by uploads or by the job that prepares it
    VALIDATING = "validating"  # its files are final; a job reads them
    READY = "ready"
    INVALID = "invalid"  # its message says why


J, A, D = JobState, AttemptState, DatasetState

EFFECTS: dict[Reason, Effect] = {
    Reason.COMPLETED: Effect(attempt=A.SUCCEEDED, job=J.SUCCEEDED, meaning="training, evaluation and packaging are done"),
    Reason.CANCELLED: Effect(attempt=A.CANCELLED, job=J.CANCELLED, meaning="someone cancelled the job"),
    Reason.PAUSED: Effect(attempt=A.CANCELLED, job=J.PAUSED, meaning="someone paused the job; it goes on from its checkpoint when resumed"),
    Reason.DRAINED: Effect(attempt=A.CANCELLED, job=J.QUEUED, meaning="the worker is being drained; the job goes on elsewhere"),
    Reason.PREEMPTED: Effect(attempt=A.CANCELLED, job=J.QUEUED, meaning="the worker needed the devices; the job goes on later"),
    Reason.USER_ERROR: Effect(
        attempt=A.FAILED, job=J.FAILED, budget=Budget.USER, meaning="the training code raised or exited with an error"
    ),
    Reason.INVALID_DATA: Effect(attempt=A.FAILED, job=J.FAILED, budget=Budget.USER, meaning="the dataset or base model cannot be used"),
    Reason.NUMERIC: Effect(attempt=A.FAILED, job=J.FAILED, budget=Budget.USER, meaning="the loss became NaN or infinite"),
    Reason.OUT_OF_MEMORY: Effect(attempt=A.FAILED, job=J.FAILED, budget=Budget.USER, meaning="a device ran out of memory"),
    Reason.HOST_OUT_OF_MEMORY: Effect(attempt=A.FAILED, job=J.FAILED, budget=Budget.USER, meaning="the node ran out of memory"),
    Reason.TIMED_OUT: Effect(attempt=A.FAILED, job=J.FAILED, budget=Budget.USER, meaning="the job reached its time limit"),
    Reason.LIMIT: Effect(attempt=A.FAILED, job=J.FAILED, budget=Budget.USER, meaning="the script used more than the worker grants"),
    Reason.RANK_DIED: Effect(
        attempt=A.FAILED, job=J.QUEUED, budget=Budget.INFRASTRUCTURE, meaning="a rank or its launcher was killed from outside"
    ),
    Reason.HANG: Effect(attempt=A.FAILED, job=J.QUEUED, budget=Budget.INFRASTRUCTURE, meaning="no progress for too long"),
    Reason.STORAGE: Effect(
        attempt=A.FAILED, job=J.QUEUED, budget=Budget.INFRASTRUCTURE, meaning="a disk or store refused to take or give bytes"
    ),
    Reason.PROTOCOL: Effect(attempt=A.FAILED, job=J.QUEUED, budget=Budget.INFRASTRUCTURE, meaning="the trainer ended without saying how"),
    Reason.NODE_LOST: Effect(attempt=A.LOST, job=J.QUEUED, budget=Budget.NODE, meaning="the worker was not heard of for a whole lease"),
}

MOVES: dict[JobState, frozenset[JobState]] = {
    J.QUEUED: frozenset({J.RUNNING, J.PAUSED, J.CANCELLED, J.FAILED}),  # failed: its dataset turned out invalid
    J.RUNNING: frozenset({J.SUCCEEDED, J.FAILED, J.QUEUED, J.PAUSING, J.CANCELLING}),
    J.PAUSING: frozenset({J.PAUSED, J.SUCCEEDED, J.FAILED, J.CANCELLING}),
    J.PAUSED: frozenset({J.QUEUED, J.CANCELLED}),
    J.CANCELLING: frozenset({J.CANCELLED, J.SUCCEEDED, J.FAILED}),
}
ATTEMPT_MOVES: dict[AttemptState, frozenset[AttemptState]] = {
    A.LEASED: frozenset({A.RUNNING, A.SUCCEEDED, A.FAILED, A.CANCELLED, A.LOST}),
    A.RUNNING: frozenset({A.SUCCEEDED, A.FAILED, A.CANCELLED, A.LOST}),
}

FINAL = frozenset(JobState) - MOVES.keys()
HOLDING_A_LEASE = frozenset({J.RUNNING, J.PAUSING, J.CANCELLING})
LIVE_ATTEMPT = frozenset(ATTEMPT_MOVES)

DATASET_MOVES: dict[DatasetState, frozenset[DatasetState]] = {
    D.UPLOADING: frozenset({D.VALIDATING, D.INVALID}),
    D.VALIDATING: frozenset({D.READY, D.INVALID}),
}
SETTLED = frozenset(DatasetState) - DATASET_MOVES.keys()

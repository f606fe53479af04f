"""Trying a model out: what clients ask and get, and what passes between the API and the nodes that hold models."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from core.manifest import ManifestFile
from core.wire.base import WireModel, WireRequest
from core.wire.worker import NodeName

MAX_ROWS = 64  # of one request
MAX_PREDICT_BYTES = 8 << 20  # of one request's body
MAX_ERROR = 2_000
LEASE_SECONDS = 20.0  # a batch is a node's for so long, and as long again at every renewal

Rows = tuple[JsonValue, ...]


class PredictRequest(WireRequest):
    """What to predict on. What a row is depends on the model; a file is its bytes in base 64, as ``{"base64": "..."}``."""

    rows: Annotated[Rows, Field(min_length=1, max_length=MAX_ROWS)]


class PredictionTiming(WireModel):
    """Seconds of the service, and how much was predicted together."""

    total_seconds: float = Field(description="from the request to its answer")
    load_seconds: float = Field(description="until the model was in memory; 0 when it was there already")
    predict_seconds: float = Field(description="of the whole batch")
    batch_size: int = Field(description="rows that were predicted together, those of other requests included")


class Prediction(WireModel):
    """``predictions`` has one object for each row, in their order; its members depend on the recipe."""

    object: Literal["prediction"] = "prediction"
    model: str
    version: int
    predictions: list[dict[str, JsonValue]]
    timing: PredictionTiming


class ClaimPredictionsRequest(WireRequest):
    """A node offers to predict. The answer waits up to ``wait_seconds`` for requests."""

    node: NodeName
    loaded: tuple[Annotated[str, Field(max_length=64)], ...] = Field(default=(), max_length=64, description="ids of versions in memory")
    wait_seconds: float = Field(default=0, ge=0, le=60)


class PredictionTask(WireModel):
    """One request, as the node gets it."""

    id: str
    rows: Rows = Field(repr=False)


class PredictionBatch(WireModel):
    """Requests of one version that waited together, and the lease that alone may answer them."""

    batch_id: str
    lease_token: str = Field(repr=False)
    lease_seconds: float
    version_id: str
    model: str
    version: int
    files: tuple[ManifestFile, ...]
    tasks: tuple[PredictionTask, ...]
    seconds_left: float = Field(description="until nobody waits for an answer any more")


class RowAnswer(WireRequest):
    """A prediction, or why there is none."""

    prediction: dict[str, JsonValue] | None = None
    error: str | None = Field(default=None, max_length=MAX_ERROR)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.prediction is None) == (self.error is None):
            raise ValueError("give either a prediction or an error")
        return self


class RequestFailure(WireRequest):
    """Why a whole request got no answer: ``refused`` will be so again, ``unavailable`` may go well another time."""

    kind: Literal["refused", "unavailable"]
    message: str = Field(max_length=MAX_ERROR)


class RequestAnswer(WireRequest):
    """The rows' answers in their order, or one failure for all."""

    request_id: str
    rows: tuple[RowAnswer, ...] | None = Field(default=None, max_length=MAX_ROWS, repr=False)
    failure: RequestFailure | None = None
    load_seconds: float = Field(default=0, ge=0)
    predict_seconds: float = Field(default=0, ge=0)
    batch_size: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.rows is None) == (self.failure is None):
            raise ValueError("give either rows or a failure")
        return self


class AnswersRequest(WireRequest):
    """The last call of a batch: an answer for each of its requests."""

    answers: tuple[RequestAnswer, ...] = Field(max_length=256)

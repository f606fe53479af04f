"""The API as it is called for predictions: claims with the worker's token, the rest with the lease of a batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx2
from pydantic import ValidationError

from core.wire.base import WireRequest
from core.wire.predictions import AnswersRequest, ClaimPredictionsRequest, PredictionBatch, RequestAnswer
from worker.api_client import TIMEOUT_SECONDS, ApiUnreachable, Connection
from worker.store_connection import Elsewhere


class _Nothing(WireRequest):
    """The body of a call that says all by its place."""


class PredictionsApi:
    def __init__(self, url: str, token: str) -> None:
        self._connection = Connection(url, token)

    def close(self) -> None:
        self._connection.close()

    def claim(self, request: ClaimPredictionsRequest) -> PredictionBatch | None:
        """What came within the request's ``wait_seconds``."""
        response = self._connection.post("predictions/claim", request, timeout=request.wait_seconds + TIMEOUT_SECONDS)
        if response.status_code == httpx2.codes.NO_CONTENT:
            return None
        try:
            return PredictionBatch.model_validate_json(response.content)
        except ValidationError as error:
            raise ApiUnreachable(f"a claim was answered by something else than a batch: {error.error_count()} problems") from None


class BatchApi:
    """One batch and its lease."""

    def __init__(self, url: str, batch_id: str, lease_token: str) -> None:
        self._connection = Connection(url, lease_token)
        self._base = f"predictions/{batch_id}"

    def close(self) -> None:
        self._connection.close()

    def renew(self) -> None:
        self._connection.post(f"{self._base}/renew", _Nothing())

    @contextmanager
    def blob(self, sha256: str, *, start: int) -> Iterator[Iterator[bytes]]:
        """The bytes of an object of the batch's model from ``start`` on."""
        with self._connection.stream(f"{self._base}/blobs/{sha256}", start=start) as found:
            if isinstance(found, Elsewhere):
                raise ApiUnreachable("the API sent us to a store, which it does for no model that is tried out")
            yield found

    def answer(self, answers: Sequence[RequestAnswer]) -> None:
        self._connection.post(f"{self._base}/answers", AnswersRequest(answers=tuple(answers)))

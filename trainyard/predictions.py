"""Predictions: the client's call, and how rows and files become a request."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from pydantic import JsonValue, ValidationError

from core.wire.predictions import MAX_PREDICT_BYTES, Prediction, PredictRequest
from trainyard.calls import Calls
from trainyard.errors import BadInput
from trainyard.retrying import RetryPolicy
from trainyard.transport import Call, read

ANSWER_SECONDS = 15.0  # beside what the server waits
Row = JsonValue | bytes | Path  # a file by its place, or its bytes


class PredictCalls(Calls):
    """Trying models out."""

    def predict(self, name: str, rows: Sequence[Row] | bytes | Path, *, version: int | str = "latest", timeout: float = 30.0) -> Prediction:
        """One prediction for each row: an object for a table, a string for a text, a ``Path`` or bytes for an image or a recording.

        ``version`` is a number, an alias or ``latest``. InvalidRequest has the place of every row that cannot be used; ApiError
        with status 503 says why nobody has answered within ``timeout`` seconds.
        """
        asked = [rows] if isinstance(rows, bytes | Path) else list(rows)
        body, media_type = _body(asked)
        call = Call(
            method="POST",
            path=f"/v1/models/{quote(name, safe='')}/predict",
            params={"version": version, "timeout_seconds": timeout},
            body=body,
            headers={"Content-Type": media_type},
            patience=timeout + ANSWER_SECONDS,
            retry=RetryPolicy(max_tries=1),  # the server has waited already
        )
        return read(Prediction, self._transport.answer(call))


def _body(rows: Sequence[Row]) -> tuple[bytes, str]:
    """The request's body and its media type; one file goes as it is. BadInput for what cannot be read or sent."""
    contents = [_content(row) for row in rows]
    if len(contents) == 1 and isinstance(contents[0], bytes):
        return contents[0], "application/octet-stream"
    plain = [{"base64": b64encode(row).decode()} if isinstance(row, bytes) else row for row in contents]
    try:
        return PredictRequest.model_validate({"rows": tuple(plain)}).model_dump_json().encode(), "application/json"
    except ValidationError as error:
        raise BadInput(f"these rows cannot be sent: {error.errors(include_url=False)[0]['msg']}") from None


def _content(row: Row) -> JsonValue | bytes:
    if not isinstance(row, Path):
        return row
    try:
        if row.stat().st_size > MAX_PREDICT_BYTES:
            raise BadInput(f"{row} is larger than the {MAX_PREDICT_BYTES >> 20} MiB that a request may have")
        return row.read_bytes()
    except OSError as error:
        raise BadInput(f"{row} cannot be read: {error.strerror}") from None

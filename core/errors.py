"""Every error that a caller can meet, in one tree. Only ``api/errors.py`` turns them into HTTP bodies.

TrainyardError
├── InvalidInput            422  what was sent cannot be accepted; carries every problem at once
│   ├── NotAvailable        422  valid, but not offered by this version
│   └── BadArchive          422  breaks a rule of core/archives; nothing of it was kept
├── Unauthenticated         401
├── Forbidden               403  the key lacks a scope
├── NotFound                404  absent, or another project's: the two look the same
├── Removed                 410  it was there, and the project's retention removed it
├── Conflict                409
│   ├── IllegalMove         409  the state machine does not allow it
│   ├── LeaseLost           409  a worker's lease passed on: kill the ranks, write nothing more
│   ├── OffsetMismatch      409  bytes offered at the wrong place; carries the right offset
│   ├── BlobMissing         409  a manifest names bytes that were never uploaded
│   ├── ProtocolMismatch    409  a worker speaks another version of the lease protocol
│   ├── CheckFailed         409  a promotion whose condition does not hold; both numbers are in the message
│   ├── UploadInProgress    409  another request is uploading the same object for the same owner
│   └── RequestInFlight     409  the same Idempotency-Key is being answered right now
├── KeyReused               422  the Idempotency-Key was used with another body
├── TooManyQueued           429  the project's queue is full
├── TooLarge                413
├── DigestMismatch          422
├── BytesDamaged            500  encrypted bytes that do not open: never answered as if they were right
└── Unavailable             503  try again (retryable)
    ├── NoMasterKey         503  the server has nothing to seal secrets with; not retryable
    ├── WrongMasterKey      503  the server's master key does not open a project's key; not retryable
    └── StorageFull         507
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a request: where (a JSON pointer, RFC 6901), what, and a stable word for it."""

    pointer: str
    message: str
    code: str = "invalid"


class TrainyardError(Exception):
    """The base: ``code`` is stable and for programs, the message is for people, ``param`` names the culprit."""

    code = "internal"
    status = 500
    retryable = False

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        super().__init__(message or type(self).__doc__ or self.code)
        self.param = param

    @property
    def message(self) -> str:
        return str(self.args[0])


class InvalidInput(TrainyardError):
    """The request is not valid."""

    code = "invalid_request"
    status = 422

    def __init__(self, message: str | None = None, *, problems: Sequence[Problem] = (), param: str | None = None) -> None:
        first = problems[0] if problems else None
        super().__init__(
            message or (f"{first.pointer}: {first.message}" if first else None), param=param or (first.pointer if first else None)
        )
        self.problems = tuple(problems)


class NotAvailable(InvalidInput):
    """This is valid, but this version of Trainyard does not offer it."""

    code = "not_available"


class BadArchive(InvalidInput):
    """The archive breaks a rule, and nothing of it was kept."""

    code = "bad_archive"


class Unauthenticated(TrainyardError):
    """A valid API key is required: send it as 'Authorization: Bearer ty_...'."""

    code = "unauthenticated"
    status = 401


class Forbidden(TrainyardError):
    """This API key does not have the scope that is needed."""

    code = "forbidden"
    status = 403


class NotFound(TrainyardError):
    """There is no such object."""

    code = "not_found"
    status = 404


class Removed(TrainyardError):
    """This was removed when the time that its project keeps such things was over."""

    code = "removed_by_retention"
    status = 410

    def __init__(self, message: str | None = None, *, removed_at: datetime, rule: str) -> None:
        super().__init__(message)
        self.removed_at = removed_at
        self.rule = rule


class Conflict(TrainyardError):
    """The request does not fit the present state."""

    code = "conflict"
    status = 409


class IllegalMove(Conflict):
    """The state machine does not allow this move."""

    code = "illegal_move"


class LeaseLost(Conflict):
    """The lease of this attempt has ended or passed on: stop the ranks and write nothing more."""

    code = "lease_lost"


class OffsetMismatch(Conflict):
    """The bytes do not continue where the stored ones end."""

    code = "offset_mismatch"

    def __init__(self, expected_offset: int) -> None:
        super().__init__(f"the next byte belongs at offset {expected_offset}", param="offset")
        self.expected_offset = expected_offset


class BlobMissing(Conflict):
    """The manifest names bytes that have not been uploaded."""

    code = "blob_missing"

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(f"{len(missing)} blob(s) not uploaded yet, the first is sha256 {missing[0]}")
        self.missing = tuple(missing)


class CheckFailed(Conflict):
    """The condition of this promotion does not hold; nothing was changed."""

    code = "check_failed"


class UploadInProgress(Conflict):
    """Another request is uploading this object for you; try again shortly."""

    code = "upload_in_progress"
    retryable = True


class ProtocolMismatch(Conflict):
    """This server and this worker speak different versions of the lease protocol."""

    code = "protocol_mismatch"


class RequestInFlight(Conflict):
    """A request with this Idempotency-Key is being answered right now; try again shortly."""

    code = "request_in_flight"
    retryable = True


class KeyReused(TrainyardError):
    """This Idempotency-Key was used before with another body."""

    code = "idempotency_key_reused"
    status = 422


class TooManyQueued(TrainyardError):
    """This project has as many queued jobs as it may have; try again when some have started."""

    code = "too_many_queued"
    status = 429
    retryable = True


class TooLarge(TrainyardError):
    """The body is larger than this server accepts."""

    code = "too_large"
    status = 413


class DigestMismatch(TrainyardError):
    """The bytes received do not have the announced SHA-256."""

    code = "digest_mismatch"
    status = 422


class BytesDamaged(TrainyardError):
    """The stored bytes of this object are damaged: they do not open with their key. Nothing of them was answered."""

    code = "bytes_damaged"
    status = 500


class Unavailable(TrainyardError):
    """The service cannot answer right now; try again."""

    code = "unavailable"
    status = 503
    retryable = True


class NoMasterKey(Unavailable):
    """This server keeps no secrets: its operator has to set TRAINYARD_MASTER_KEY."""

    code = "no_master_key"
    retryable = False


class WrongMasterKey(Unavailable):
    """The master key of this server does not open the keys in its ledger: its operator has to set the right one."""

    code = "wrong_master_key"
    retryable = False


class StorageFull(Unavailable):
    """The store has no space left."""

    code = "storage_full"
    status = 507

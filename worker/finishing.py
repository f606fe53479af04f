"""The last part of an attempt: ships what is left, hands over the artifacts, and says how it ended."""

import logging
import math
import threading
from pathlib import Path

from pydantic import ValidationError

from core.logs import mask
from core.manifest import MANIFEST, Manifest, ManifestError, describe, read_manifest
from core.run_dir import ResultFile, RunDir, read_model
from core.states import Phase, Reason
from core.wire.worker import ArtifactsRequest, FinishRequest
from worker.api_client import ApiRefused, AttemptApi
from worker.checkpoint_shipper import CheckpointShipper
from worker.lease_keeper import LeaseKeeper
from worker.log_streams import LogStreams
from worker.outcome import Outcome
from worker.patience import Patience
from worker.shipper import Shipper
from worker.uploader import FileChanged, OpenFiles, StoreIsFull, Uploader

log = logging.getLogger("trainyard.worker.finishing")

STACKS = "stacks-*.txt"
# After these nobody goes on from the newest checkpoint.
NOTHING_FOLLOWS = frozenset({Reason.COMPLETED, Reason.CANCELLED})


def finish_attempt(
    outcome: Outcome,
    *,
    run_dir: RunDir,
    api: AttemptApi,
    patience: Patience,
    shipper: Shipper,
    checkpoints: CheckpointShipper,
    logs: LogStreams,
    lease: LeaseKeeper,
) -> None:
    """Returns when the API has taken the ending. LeaseLost or GaveUp when the lease passed on before."""
    shipper.close()
    checkpoints.close(wants_last=outcome.reason not in NOTHING_FOLLOWS)
    outcome = hand_over_artifacts(outcome, run_dir, api, patience, shipper)
    request = finish_request(outcome, run_dir, logs)
    lease.expect_end()
    reply = patience.keep_trying(lambda: api.finish(request))
    log.info("finished", extra={"event": "attempt.finished", "reason": outcome.reason.value, "job_state": reply.job_state})


def hand_over_artifacts(outcome: Outcome, run_dir: RunDir, api: AttemptApi, patience: Patience, shipper: Shipper) -> Outcome:
    """Uploads and commits what the attempt has made: the package if there is a whole one, and stacks. The outcome that is left then."""
    is_completed = outcome.reason is Reason.COMPLETED
    if is_completed:
        shipper.report_phase(Phase.UPLOADING)
    try:
        manifest = package_of(run_dir)
        if manifest.files:
            _upload(run_dir.artifacts, manifest, api, patience)
    except (ManifestError, FileChanged, FileNotFoundError) as error:
        return _spoilt(outcome, Reason.PROTOCOL, f"the package is not what its manifest says: {error}")
    except (StoreIsFull, ApiRefused) as error:
        return _spoilt(outcome, Reason.STORAGE, f"the artifacts could not be stored: {error}")
    if is_completed and not (run_dir.artifacts / MANIFEST).exists():
        log.warning("the run completed without a package", extra={"event": "artifacts.none"})
    return outcome


def package_of(run_dir: RunDir) -> Manifest:
    """The sealed package, and stacks of hung ranks that nobody sealed. No manifest, no upload."""
    sealed = read_manifest(run_dir.artifacts) if (run_dir.artifacts / MANIFEST).exists() else Manifest(files=())
    known = {file.path for file in sealed.files}
    stacks = [path for path in run_dir.artifacts.glob(STACKS) if path.name not in known]
    return Manifest(files=(*sealed.files, *describe(run_dir.artifacts, stacks)), meta=sealed.meta)


def _upload(root: Path, manifest: Manifest, api: AttemptApi, patience: Patience) -> None:
    uploader = Uploader(api, patience, threading.Event())
    request = ArtifactsRequest(manifest=manifest)
    with OpenFiles(root, manifest) as files:
        uploader.upload(files)
        try:
            patience.keep_trying(lambda: api.add_artifacts(request))
        except ApiRefused as error:
            if not error.missing:
                raise
            uploader.upload(files, only=frozenset(error.missing))
            patience.keep_trying(lambda: api.add_artifacts(request))


def _spoilt(outcome: Outcome, reason: Reason, message: str) -> Outcome:
    """A completed attempt whose package cannot be had has failed; any other keeps its own reason."""
    log.error("artifacts were not handed over", extra={"event": "artifacts.failed", "cause": message})
    return Outcome(reason=reason, message=message) if outcome.reason is Reason.COMPLETED else outcome


def finish_request(outcome: Outcome, run_dir: RunDir, logs: LogStreams) -> FinishRequest:
    result = read_result(run_dir)
    has_failed = outcome.rank is not None
    tail = outcome.log_tail or (logs.tail(outcome.rank) if outcome.rank is not None else None)
    return FinishRequest(
        reason=outcome.reason,
        message=mask(outcome.message),
        forced=outcome.forced,
        rank=outcome.rank,
        exit_code=outcome.exit_code if has_failed else None,
        stack=mask(outcome.stack) if outcome.stack else None,
        log_tail=mask(tail) if tail else None,
        metrics={name: value for name, value in result.metrics.items() if math.isfinite(value)} if result else {},
        step=result.step if result else None,
        weights_sha256=result.weights_sha256 if result else None,
    )


def read_result(run_dir: RunDir) -> ResultFile | None:
    try:
        return read_model(run_dir.result, ResultFile)
    except (OSError, ValidationError):
        return None

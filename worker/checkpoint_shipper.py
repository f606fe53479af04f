"""Uploads sealed checkpoints behind training, in a thread of its own. The newest wins: an older one that was not begun is skipped."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from core.errors import LeaseLost
from core.manifest import Manifest, ManifestError, read_manifest
from core.run_dir import RunDir
from core.wire.worker import CheckpointRequest
from worker.api_client import ApiRefused, ApiUnreachable, AttemptApi
from worker.patience import GaveUp, Patience
from worker.resume import step_of
from worker.uploader import FileChanged, OpenFiles, Uploader
from worker.watched_thread import WatchedThread

log = logging.getLogger("trainyard.worker.checkpoints")

# A look without having been told; costs a directory listing.
LOOK_SECONDS = 2.0
# A store that is full must not hold up what comes after this checkpoint.
MAX_TRIES = 8


class CheckpointShipper:
    """``seen()`` tells it that there may be a new one. A corrupt one becomes an event and is passed over.

    ``make`` is called before every look, for those who write checkpoints of another kind.
    """

    def __init__(
        self,
        api: AttemptApi,
        patience: Patience,
        *,
        run_dir: RunDir,
        lose: Callable[[LeaseLost], None],
        failed: Callable[[], None],
        make: Callable[[], None] = lambda: None,
    ) -> None:
        self._make = make
        self._api = api
        self._patience = patience
        self._run_dir = run_dir
        self._lose = lose
        self._interrupted = threading.Event()
        self._uploader = Uploader(api, patience, self._interrupted)
        self._done: set[str] = set()
        self._asked = threading.Event()
        self._closing = threading.Event()
        self._wants_last = False
        self._is_started = False
        self._thread = WatchedThread("checkpoints", self._run, failed)

    def start(self) -> None:
        self._is_started = True
        self._thread.start()

    def seen(self) -> None:
        self._asked.set()

    def check(self) -> None:
        self._thread.check()

    def close(self, *, wants_last: bool) -> None:
        """Call it when the ranks are gone. ``wants_last``: another attempt will go on from the newest, so it has to be stored;
        otherwise an upload that is under way is broken off."""
        self._wants_last = wants_last
        if not wants_last:
            self._interrupted.set()
        self._closing.set()
        self._asked.set()
        if self._is_started:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._asked.wait(LOOK_SECONDS)
                self._asked.clear()
                if not self._closing.is_set():
                    self._make()
                    self._ship_newest()
            if self._wants_last:
                self._ship_newest()
        except LeaseLost as error:
            self._lose(error)
        except GaveUp:
            log.info("the upload of a checkpoint was broken off", extra={"event": "checkpoint.upload_stopped"})

    def _ship_newest(self) -> None:
        for folder in self._run_dir.complete_checkpoints():
            if folder.name in self._done:
                return
            if self._ship(folder):
                return

    def _ship(self, folder: Path) -> bool:
        """Whether the checkpoint is stored, or not worth another try; False: the next older one will do."""
        try:
            manifest = read_manifest(folder)
            with OpenFiles(folder, manifest) as files:
                self._uploader.upload(files, max_tries=MAX_TRIES)
                self._commit(folder, manifest, files)
        except (ManifestError, FileChanged) as error:
            self._done.add(folder.name)
            self._report_corrupt(str(error))
            return False
        except FileNotFoundError:
            return False  # pruned by the trainer meanwhile: there is a newer one, and the next look finds it
        except (ApiUnreachable, ApiRefused) as error:
            log.warning("a checkpoint was not stored", extra={"event": "checkpoint.not_stored", "cause": str(error)})
            return True
        self._done.add(folder.name)
        return True

    def _report_corrupt(self, cause: str) -> None:
        log.error("a checkpoint is corrupt", extra={"event": "checkpoint.corrupt", "cause": cause})
        self._patience.keep_trying(lambda: self._api.add_event("checkpoint.corrupt", f"not stored: {cause}"))

    def _commit(self, folder: Path, manifest: Manifest, files: OpenFiles) -> None:
        request = describe_checkpoint(folder, manifest)
        try:
            self._patience.keep_trying(lambda: self._api.add_checkpoint(request), max_tries=MAX_TRIES)
        except ApiRefused as error:
            if not error.missing:
                raise
            self._uploader.upload(files, only=frozenset(error.missing), max_tries=MAX_TRIES)
            self._patience.keep_trying(lambda: self._api.add_checkpoint(request), max_tries=MAX_TRIES)


def describe_checkpoint(folder: Path, manifest: Manifest) -> CheckpointRequest:
    """What the trainer wrote into the manifest's ``meta``, as the API takes it."""
    step = step_of(folder)
    return CheckpointRequest(step=step, manifest=manifest, is_best=manifest.meta.get("best_step") == step)

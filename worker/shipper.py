"""Ships what grows while the ranks run: progress, metric points, output. One thread, so that the order is kept.

An API that is away costs nothing but time: the files keep what was not sent, and a batch that is sent again carries its
old number. The thread ends when it has sent everything after ``close()``, or with the lease.
"""

import logging
import threading
import time
from collections.abc import Callable

from core.errors import LeaseLost
from core.run_dir import ProgressFile, RunDir
from core.states import Phase
from core.wire.jobs import Progress
from core.wire.worker import MetricsRequest, StartRequest
from worker.api_client import ApiRefused, AttemptApi
from worker.log_streams import LogStreams
from worker.metric_reader import Batch, MetricReader
from worker.patience import GaveUp, Patience
from worker.stall import ProgressWatch
from worker.watched_thread import WatchedThread

log = logging.getLogger("trainyard.worker.shipper")

# Until the first step somebody waits for it; afterwards a quarter of a second is soon enough.
EAGER_SECONDS = 0.02
PASS_SECONDS = 0.25
EAGER_AT_MOST_SECONDS = 60.0


class Shipper:
    """Starts with the attempt's ``start`` call, which so runs beside the launch. ``gather`` writes what others have left into our files."""

    def __init__(
        self,
        api: AttemptApi,
        patience: Patience,
        *,
        run_dir: RunDir,
        logs: LogStreams,
        lose: Callable[[LeaseLost], None],
        failed: Callable[[], None],
        checkpoint_seen: Callable[[], None],
        gather: Callable[[], None] = lambda: None,
    ) -> None:
        self._api = api
        self._patience = patience
        self._progress = ProgressWatch(run_dir)
        self._metrics = MetricReader(run_dir)
        self._logs = logs
        self._lose = lose
        self._checkpoint_seen = checkpoint_seen
        self._gather = gather
        self._checkpoint_step: int | None = None
        self._phase: Phase | None = None
        self._num_batches = 0
        self._start: StartRequest | None = None
        self._closing = threading.Event()
        self._thread = WatchedThread("shipper", self._run, failed)

    def start(self, request: StartRequest) -> None:
        self._start = request
        self._thread.start()

    def close(self) -> None:
        """Ships the rest; call it when the ranks are gone. Raises ThreadFailed."""
        self._closing.set()
        if self._start is not None:
            self._thread.join()

    def check(self) -> None:
        self._thread.check()

    def _run(self) -> None:
        try:
            if self._start is not None:
                request = self._start
                self._patience.keep_trying(lambda: self._api.start(request))
            while not self._closing.wait(self._pause()):
                self.ship_once()
            while self.ship_once():
                pass
        except LeaseLost as error:
            self._lose(error)
        except GaveUp:
            log.info("what was not shipped stays on the node", extra={"event": "shipper.gave_up"})

    def _pause(self) -> float:
        newest = self._progress.newest
        is_waited_for = newest is None or (newest.phase == Phase.PREPARING or newest.step < 1)
        is_young = time.monotonic() - self._progress.changed_at < EAGER_AT_MOST_SECONDS
        return EAGER_SECONDS if is_waited_for and is_young else PASS_SECONDS

    def ship_once(self) -> bool:
        """One batch of points with the newest progress, then one chunk of every output stream; whether there was anything."""
        self._gather()
        progress = self._progress.newest if self._progress.look() else None
        batch = self._metrics.next_batch()
        if batch or progress:
            self._send(batch or Batch(), progress)
        if progress and progress.checkpoint_step != self._checkpoint_step:
            self._checkpoint_step = progress.checkpoint_step
            self._checkpoint_seen()
        return self._logs.send_some(self._api, self._patience, is_over=self._closing.is_set()) or batch is not None

    def report_phase(self, phase: Phase) -> None:
        """A phase that the supervisor itself is in; call it when the thread has ended."""
        newest = self._progress.newest
        known = newest or ProgressFile(phase=phase, at=time.time())
        self._send(Batch(), known.model_copy(update={"phase": phase, "at": time.time()}))

    def _send(self, batch: Batch, progress: ProgressFile | None) -> None:
        self._num_batches += 1
        shown = Progress.model_validate(progress.model_dump()) if progress else None
        request = MetricsRequest(seq=self._num_batches, series=batch.series, progress=shown)
        try:
            self._patience.keep_trying(lambda: self._api.add_metrics(request))
        except ApiRefused as error:
            # Sending it again would be refused again and hold up everything behind it.
            log.error("a batch of metrics was refused", extra={"event": "metrics.refused", "cause": str(error), "seq": request.seq})

"""Hears what other replicas commit: looks twice a second at the jobs that somebody waits for here, and wakes those waiters.

What this process commits wakes its waiters without it, so on SQLite, which one process serves, there is none.
"""

import asyncio
import logging

from api.live import Live
from api.threads import in_thread
from core.db.engine import Database
from core.errors import TrainyardError
from core.jobs.versions import versions_of

log = logging.getLogger("trainyard.api.tailer")

PAUSE_SECONDS = 0.5


class Tailer:
    """``run()`` until it is cancelled, on the event loop; one pass can be called alone."""

    def __init__(self, db: Database, live: Live) -> None:
        self._db = db
        self._live = live
        self._seen: dict[str, int] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                await self.run_pass()
            except TrainyardError as error:
                log.warning("cannot look for changes", extra={"event": "pass.failed", "cause": str(error)})

    async def run_pass(self) -> None:
        """Wakes the waiters of every job whose version is another one than at the last pass.

        What a job ships does not change its version, so waiters for that are woken every time: they look for themselves.
        """
        topics = self._live.watched()
        versions = await in_thread(self._read, sorted({topic.partition("/")[0] for topic in topics})) if topics else {}
        changed = {job_id for job_id, version in versions.items() if self._seen.get(job_id) != version}
        self._seen = versions
        self._live.notify(*(topic for topic in topics if "/" in topic or topic in changed))

    def _read(self, job_ids: list[str]) -> dict[str, int]:
        with self._db.read() as tx:
            return versions_of(tx, job_ids)

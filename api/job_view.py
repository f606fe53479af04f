"""One look at a job for GET: its JSON, its entity tag, and whether waiting could bring anything new."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Response
from sqlalchemy import Connection

from api.deps import ApiState
from api.respond import etag_matches, json_bytes, not_modified
from core.jobs.queries import JobVersion, job_json, job_version

RECHECK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class JobView:
    """``body`` is None when the caller's copy, named by If-None-Match, is still right."""

    version: JobVersion
    body: bytes | None

    def response(self) -> Response:
        if self.body is None:
            return not_modified(_etag(self.version))
        return json_bytes(self.body, headers={"ETag": _etag(self.version), "Cache-Control": "no-cache"})

    def is_worth_waiting(self, if_none_match: str | None) -> bool:
        """Whether the caller has seen all there is so far, and there may be more."""
        return not self.version.is_terminal and (if_none_match is None or self.body is None)


def view_job(tx: Connection, project_id: str, job_id: str, if_none_match: str | None) -> JobView:
    """One look; raises NotFound."""
    if if_none_match is not None:
        version = job_version(tx, project_id, job_id)
        if etag_matches(if_none_match, _etag(version)):
            return JobView(version, None)
    found = job_json(tx, project_id, job_id)
    return JobView(found.version, found.body)


def _etag(version: JobVersion) -> str:
    return f'"{version.number}"'


async def wait_for_job(
    state: ApiState, job_id: str, look: Callable[[Connection], JobView], if_none_match: str | None, *, seconds: float
) -> JobView:
    """Looks again whenever the job has news, until that is worth telling or the time is over."""
    deadline = time.monotonic() + seconds
    with state.live.listen(job_id) as waiter:
        while True:
            view = await state.reads.ask(look)
            left = deadline - time.monotonic()
            if left <= 0 or state.live.is_closed or not view.is_worth_waiting(if_none_match):
                return view
            await waiter.wait(min(left, RECHECK_SECONDS))

"""The client: one method per thing that the service does. Synchronous, typed, and safe to retry.

Every method raises what ``trainyard.errors`` draws. Jobs, attempts and the rest are the models of ``core.wire``.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from core.states import JobState
from core.wire.base import Page
from core.wire.jobs import Artifact, Attempt, Checkpoint, Event, Job, JobMetrics, LogPage, LogStream, Recipe, ValidationReport
from core.wire.keys import ApiKey, CreatedKey, CreateKeyRequest, Scope
from core.wire.worker import Worker
from trainyard.archive import ArchiveKind, download_archive
from trainyard.calls import PAGE
from trainyard.datasets import DatasetCalls
from trainyard.downloads import Advance, download_all, remote_artifact
from trainyard.models import ModelCalls
from trainyard.predictions import PredictCalls
from trainyard.project_calls import ProjectCalls
from trainyard.retrying import RetryPolicy
from trainyard.script_calls import ScriptCalls
from trainyard.settings import find_settings
from trainyard.specs import SpecLike, spec_text
from trainyard.streams import follow
from trainyard.transport import Call, Parameters, Transport, read

POLL_SECONDS = 30.0
NOT_MODIFIED = 304


class Client(DatasetCalls, ModelCalls, PredictCalls, ProjectCalls, ScriptCalls):
    """One server, one key.

    Without arguments it reads ``TRAINYARD_URL`` and ``TRAINYARD_API_KEY``, else it talks to the server that
    ``trainyard up`` runs for this user; NotConfigured when there is none. Close it, or use it as a context manager.
    A client may be used by one thread at a time.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        home: Path | None = None,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(Transport(find_settings(url, api_key, home=home), timeout=timeout, retry=retry, sleep=sleep))

    @property
    def url(self) -> str:
        return self._transport.url

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # Jobs

    def submit(self, spec: SpecLike, *, idempotency_key: str | None = None) -> Job:
        """Stores a job and answers it. ``spec`` is a mapping, a typed spec, or the path of a JSON file.

        The request carries an Idempotency-Key, made up unless given, so that its retries store one job at most.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._post(Job, "/v1/jobs", spec_text(spec), headers=headers)

    def validate(self, spec: SpecLike) -> ValidationReport:
        """A dry run: the spec with every default filled in. InvalidRequest has every problem in ``errors``."""
        return self._post(ValidationReport, "/v1/jobs/validate", spec_text(spec))

    def job(self, job_id: str) -> Job:
        return self._transport.get(Job, f"/v1/jobs/{job_id}")

    def jobs(
        self, *, state: JobState | str | None = None, recipe: str | None = None, label: str | None = None, limit: int | None = None
    ) -> Iterator[Job]:
        """The project's jobs, newest first, page by page; at most ``limit``. ``label`` is ``name=value``."""
        return self._items(Page[Job], "/v1/jobs", {"state": state, "recipe": recipe, "label": label}, limit=limit)

    def wait(self, job_id: str, *, timeout: float | None = None, on_change: Callable[[Job], None] | None = None) -> Job:
        """The job once it has ended (or is paused), else TimeoutError after ``timeout`` seconds.

        ``on_change`` is called with the job at first and whenever it has changed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        for job in self.watch(job_id, deadline=deadline):
            if on_change:
                on_change(job)
            if job.is_terminal or job.state is JobState.PAUSED:
                return job
        raise TimeoutError(f"{job_id} has not ended within {timeout:g} s")

    def watch(self, job_id: str, *, deadline: float | None = None) -> Iterator[Job]:
        """The job now and after each change, without end; ``deadline`` is an instant of ``time.monotonic()``."""
        etag: str | None = None
        while True:
            patience = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - time.monotonic())
            if etag and patience <= 0:
                return
            params: Parameters = {"wait": f"{max(patience, 0):.3f}"} if etag else {}
            headers = {"If-None-Match": etag} if etag else {}
            retry = self._transport.retry.patient() if etag else None
            call = Call(method="GET", path=f"/v1/jobs/{job_id}", params=params, headers=headers, patience=POLL_SECONDS + 15, retry=retry)
            response = self._transport.answer(call)
            if response.status_code != NOT_MODIFIED:
                etag = response.headers.get("etag")
                yield read(Job, response)

    def cancel(self, job_id: str) -> Job:
        """Asks for the end of a job; one that has ended stays as it is."""
        return self._post(Job, f"/v1/jobs/{job_id}/cancel")

    def pause(self, job_id: str) -> Job:
        """Asks a job to write a checkpoint and give its devices back."""
        return self._post(Job, f"/v1/jobs/{job_id}/pause", is_repeatable=False)

    def resume(self, job_id: str) -> Job:
        """Queues a paused job again; it goes on from its checkpoint."""
        return self._post(Job, f"/v1/jobs/{job_id}/resume", is_repeatable=False)

    # What a job leaves

    def attempts(self, job_id: str) -> Iterator[Attempt]:
        return self._items(Page[Attempt], f"/v1/jobs/{job_id}/attempts")

    def checkpoints(self, job_id: str) -> Iterator[Checkpoint]:
        return self._items(Page[Checkpoint], f"/v1/jobs/{job_id}/checkpoints")

    def artifacts(self, job_id: str) -> Iterator[Artifact]:
        return self._items(Page[Artifact], f"/v1/jobs/{job_id}/artifacts")

    def metrics(self, job_id: str, *, names: Sequence[str] = (), max_points: int | None = None, attempt: int | None = None) -> JobMetrics:
        """The job's metric series, each thinned to ``max_points`` with its extremes kept."""
        params: Parameters = {"name": list(names) or None, "max_points": max_points, "attempt": attempt}
        return self._transport.get(JobMetrics, f"/v1/jobs/{job_id}/metrics", params)

    def events(self, job_id: str, *, after: int = 0, follow_on: bool = False) -> Iterator[Event]:
        """The journal after event number ``after``: what is there, or with ``follow_on`` live until the job has ended."""
        path = f"/v1/jobs/{job_id}/events"
        if follow_on:
            for event in follow(self._transport, path, last_id=str(after)):
                yield Event.model_validate_json(event.data)
            return
        while True:
            page = self._transport.get(Page[Event], path, {"after": after, "limit": PAGE})
            yield from page.data
            if not page.has_more or not page.data:
                return
            after = page.data[-1].seq

    def log_page(
        self,
        job_id: str,
        *,
        attempt: int | None = None,
        rank: int = 0,
        stream: Literal["stdout", "stderr"] = "stdout",
        offset: int = 0,
        limit: int | None = None,
    ) -> LogPage:
        """A piece of one rank's output, from byte ``offset`` on; go on at its ``next_offset``."""
        params: Parameters = {"attempt": attempt, "rank": rank, "stream": stream, "offset": offset, "limit": limit}
        return self._transport.get(LogPage, f"/v1/jobs/{job_id}/logs", params)

    def logs(self, job_id: str, *, attempt: int | None = None, rank: int | None = None, stream: str | None = None) -> Iterator[LogPage]:
        """The output of every rank (or of one), in pieces as they come, until the job has ended; exact over reconnects."""
        params: Parameters = {"attempt": attempt, "rank": rank, "stream": stream}
        for event in follow(self._transport, f"/v1/jobs/{job_id}/logs", params):
            if event.event == "log":
                yield LogPage.model_validate_json(event.data)
            elif event.event == "end":
                return

    def log_pages(
        self, job_id: str, *, attempt: int | None = None, rank: int | None = None, stream: str | None = None
    ) -> Iterator[LogPage]:
        """What is stored now of one attempt's output (the newest's by default), rank by rank."""
        for found in self.log_page(job_id, attempt=attempt).streams:
            if rank in (None, found.rank) and stream in (None, found.stream):
                yield from self._pages_of(job_id, found)

    def _pages_of(self, job_id: str, found: LogStream) -> Iterator[LogPage]:
        offset = 0
        while offset < found.size:
            page = self.log_page(job_id, attempt=found.attempt, rank=found.rank, stream=found.stream, offset=offset)
            if page.next_offset <= offset:
                return
            yield page
            offset = page.next_offset

    def download(self, job_id: str, folder: str | Path, *, on_bytes: Advance | None = None) -> list[Path]:
        """The job's artifacts as verified files below ``folder``; a broken download goes on where it stopped.

        ``on_bytes(file, num_bytes)`` hears of progress. Raises DownloadFailed when bytes differ from their SHA-256.
        """
        files = [remote_artifact(artifact) for artifact in self.artifacts(job_id)]
        return download_all(self._transport, files, Path(folder), on_bytes)

    def download_archive(
        self, job_id: str, path: str | Path, *, format: ArchiveKind = "tar", on_bytes: Advance | None = None
    ) -> list[Artifact]:
        """The job's artifacts as the one file ``path``, each of them verified; what is in it.

        It cannot be resumed: one that breaks off begins anew, and nothing lies at ``path`` before it is whole.
        """
        artifacts = list(self.artifacts(job_id))
        if artifacts:
            download_archive(self._transport, artifacts, Path(path), format, on_bytes)
        return artifacts

    # The service

    def recipes(self) -> list[Recipe]:
        return self._transport.get(Page[Recipe], "/v1/recipes").data

    def recipe(self, name: str) -> Recipe:
        return self._transport.get(Recipe, f"/v1/recipes/{name}")

    def workers(self) -> Iterator[Worker]:
        return self._items(Page[Worker], "/v1/workers")

    def drain(self, worker_id: str) -> Worker:
        """Lets a worker's jobs write a checkpoint and go back to the queue; it takes no new ones."""
        return self._post(Worker, f"/v1/workers/{worker_id}/drain")

    def undrain(self, worker_id: str) -> Worker:
        return self._post(Worker, f"/v1/workers/{worker_id}/undrain")

    def keys(self) -> Iterator[ApiKey]:
        return self._items(Page[ApiKey], "/v1/keys")

    def create_key(self, name: str, scopes: Sequence[Scope | str], *, project: str | None = None, days: int | None = None) -> CreatedKey:
        """A new key; its secret is in the answer and nowhere else."""
        expiry = None if days is None else days * 86_400
        request = CreateKeyRequest(name=name, scopes=tuple(Scope(scope) for scope in scopes), project=project, expires_in_seconds=expiry)
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return self._post(CreatedKey, "/v1/keys", request.model_dump_json(exclude_none=True).encode(), headers=headers)

    def revoke_key(self, key_id: str) -> ApiKey:
        return read(ApiKey, self._transport.answer(Call(method="DELETE", path=f"/v1/keys/{key_id}")))

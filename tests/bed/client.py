"""The service as its users see it: HTTP, and waiting on what HTTP says, always with a deadline."""

from collections.abc import Callable
from typing import Any, TypeVar

import httpx2

from tests.bed.waiting import until

Json = dict[str, Any]
Answer = TypeVar("Answer")
POLL_SECONDS = 0.05
ATTEMPT_ORDER = ("leased", "running", "succeeded", "failed", "cancelled", "lost")


class ServiceClient:
    """A key's view of one running API. Waits go on while the API is away; single requests do not."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.http = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def close(self) -> None:
        self.http.close()

    def get(self, path: str) -> Json:
        return self._json("GET", path)

    def post(self, path: str, body: Json | None = None) -> Json:
        return self._json("POST", path, json=body)

    def submit(self, spec: Json, *, idempotency_key: str | None = None) -> str:
        """POSTs the job and answers its id."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return str(self._json("POST", "/v1/jobs", json=spec, headers=headers)["id"])

    def job(self, job: str) -> Json:
        return self.get(f"/v1/jobs/{job}")

    def attempts(self, job: str) -> list[Json]:
        """Newest first."""
        return list(self.get(f"/v1/jobs/{job}/attempts?limit=200")["data"])

    def attempt(self, job: str, number: int) -> Json | None:
        return next((attempt for attempt in self.attempts(job) if attempt["number"] == number), None)

    def checkpoints(self, job: str) -> list[Json]:
        return list(self.get(f"/v1/jobs/{job}/checkpoints?limit=200")["data"])

    def events(self, job: str) -> list[Json]:
        """The whole journal, oldest first."""
        found: list[Json] = []
        while True:
            page = self.get(f"/v1/jobs/{job}/events?limit=200&after={found[-1]['seq'] if found else 0}")
            found += page["data"]
            if not page["has_more"]:
                return found

    def artifacts(self, job: str) -> list[Json]:
        return list(self.get(f"/v1/jobs/{job}/artifacts?limit=200")["data"])

    def attempt_artifacts(self, job: str, number: int) -> list[str]:
        """Paths of what one attempt left."""
        return [artifact["path"] for artifact in self.artifacts(job) if artifact["attempt"] == number]

    def download(self, job: str, path: str) -> bytes:
        answer = self.http.get(f"/v1/jobs/{job}/artifacts/{path}")
        answer.raise_for_status()
        return bytes(answer.content)

    def wait_terminal(self, job: str, seconds: float = 60) -> Json:
        return self._wait(lambda: self._job_if(job, lambda state: state["is_terminal"]), job, seconds, "the job has ended")

    def wait_state(self, job: str, state: str, seconds: float = 30) -> Json:
        return self._wait(lambda: self._job_if(job, lambda seen: seen["state"] == state), job, seconds, f"the job is {state}")

    def wait_for_step(self, job: str, step: int, seconds: float = 45) -> Json:
        """Until the job's newest attempt has said that it reached ``step``."""

        def reached(state: Json) -> bool:
            return bool(state["progress"]) and state["progress"]["step"] >= step

        return self._wait(lambda: self._job_if(job, reached), job, seconds, f"step {step} is reached")

    def wait_for_checkpoint(self, job: str, seconds: float = 45) -> list[Json]:
        """Until a checkpoint is committed in the ledger."""
        return self._wait(lambda: self.checkpoints(job), job, seconds, "a checkpoint is committed")

    def wait_for_attempt(self, job: str, number: int, *, state: str, or_later: bool = False, seconds: float = 45) -> Json:
        """Until attempt ``number`` is in ``state``; with ``or_later`` a state that follows it will do."""
        accepted = ATTEMPT_ORDER[ATTEMPT_ORDER.index(state) :] if or_later else (state,)

        def there() -> Json | None:
            attempt = self.attempt(job, number)
            return attempt if attempt and attempt["state"] in accepted else None

        return self._wait(there, job, seconds, f"attempt {number} is {state}")

    def explain(self, job: str) -> str:
        """What the service knows of a job, for the message of a failed test."""
        try:
            events = "\n".join(f"  {e['seq']:3} {e['at'][11:23]} #{e['attempt']} {e['type']}: {e['message']}" for e in self.events(job))
            return f"job: {self.job(job)}\nattempts: {self.attempts(job)}\nevents:\n{events}"
        except httpx2.HTTPError as error:
            return f"the API does not say: {error!r}"

    def _job_if(self, job: str, holds: Callable[[Json], Any]) -> Json | None:
        state = self.job(job)
        return state if holds(state) else None

    def _wait(self, question: Callable[[], Answer | None], job: str, seconds: float, what: str) -> Answer:
        answer = until(lambda: _unless_away(question), within=seconds, what=what, explain=lambda: self.explain(job), pause=POLL_SECONDS)
        assert answer is not None  # until() answers true ones only
        return answer

    def _json(self, method: str, path: str, **rest: Any) -> Json:
        answer = self.http.request(method, path, **rest)
        if answer.is_error:
            raise httpx2.HTTPStatusError(f"{method} {path}: {answer.status_code} {answer.text}", request=answer.request, response=answer)
        found: Json = answer.json()
        return found


def _unless_away(question: Callable[[], Answer | None]) -> Answer | None:
    """The question's answer, or None while the API cannot be reached or its ledger is away."""
    try:
        return question()
    except httpx2.TransportError:
        return None
    except httpx2.HTTPStatusError as error:
        if error.response.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
            return None
        raise

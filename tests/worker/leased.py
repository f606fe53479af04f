"""An attempt with its lease on a real server, seen through a proxy that misbehaves on command."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.db.tables import members
from core.run_dir import MetricLine, ProgressFile, RunDir, write_atomically
from core.states import Phase
from core.wire.worker import Claim
from tests.api.serving import Client, Json, Served, serving
from tests.bed.proxy import Proxy
from worker.api_client import AttemptApi
from worker.patience import Patience


class LeasedAttempt:
    """One claimed job; ``api`` speaks through ``proxy``, ``admin`` does not."""

    def __init__(self, served: Served, proxy: Proxy, root: Path, **spec: Any) -> None:
        self.served = served
        self.proxy = proxy
        self.admin: Client = served.client()
        self.job_id = self.admin.submit(**spec)
        node = served.node()
        said = node.claim(node.register(f"node-{self.job_id}"))
        assert said is not None
        self.claim = Claim.model_validate_json(json.dumps(said))
        self.api = AttemptApi(f"http://127.0.0.1:{proxy.port}", self.claim.attempt_id, self.claim.lease_token)
        self.given_up = threading.Event()
        self.patience = Patience(self.given_up)
        self.run_dir = RunDir.create(root / self.job_id)

    def get(self, path: str) -> Json:
        answer = self.admin.get(f"/v1/jobs/{self.job_id}/{path}")
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def events(self, kind: str) -> list[Json]:
        return [event for event in self.get("events?limit=200")["data"] if event["type"] == kind]

    def let_lease_run_out(self) -> None:
        """As if a whole lease had passed without a beat: the server's next maintenance reaps."""
        with self.served.state.db.begin() as tx:
            tx.execute(members.update().where(members.c.attempt_id == self.claim.attempt_id).values(lease_until=0.0))

    def write_metrics(self, steps: range, *, seq: int = 1) -> None:
        with self.run_dir.metrics.open("a") as file:
            for number, step in enumerate(steps):
                file.write(
                    MetricLine(seq=seq + number, step=step, at=float(step), values={"loss": 1.0 / (step + 1)}).model_dump_json() + "\n"
                )

    def write_progress(self, **values: Any) -> None:
        write_atomically(self.run_dir.progress, ProgressFile(**{"phase": Phase.TRAINING, "at": 1.0, **values}), durable=False)


@contextmanager
def leased_attempt(url: str, folder: Path, *, spec: Json | None = None, **settings: Any) -> Iterator[LeasedAttempt]:
    with serving(url, folder, **settings) as served:
        port = int(served.url.rpartition(":")[2])
        with Proxy(("127.0.0.1", port)) as proxy:
            attempt = LeasedAttempt(served, proxy, folder / "runs", **(spec or {}))
            yield attempt
            attempt.api.close()

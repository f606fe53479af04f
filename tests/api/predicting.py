"""A project with a model, a node that answers whatever a test says, and callers that wait in threads."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
from safetensors.numpy import save
from sqlalchemy import func, select

from core.db.prediction_tables import prediction_requests
from core.wire.keys import Scope
from tests.api.serving import Client, Json, Node, Served
from tests.api.shipping import sha256_of

WEIGHTS = save({"weight": np.arange(12, dtype=np.float32)})


class Predicting:
    """``ask`` answers a future; ``claim``, ``say`` and ``answer`` are the node's."""

    def __init__(self, served: Served, callers: ThreadPoolExecutor) -> None:
        self.served = served
        self.client = served.client(Scope.SUBMIT)
        self.node: Node = served.node()
        self._callers = callers
        push(self.client, WEIGHTS)

    def ask(
        self, *, path: str = "digits", client: Client | None = None, params: Json | None = None, **body: Any
    ) -> "Future[httpx2.Response]":
        url = f"/v1/models/{path}/predict"
        return self._callers.submit(lambda: (client or self.client).post(url, params=params, **body))

    def claim(self, wait: float = 10, **changes: Any) -> Json | None:
        answer = self.node.post("/v1/worker/predictions/claim", json={"node": "node-1", "wait_seconds": wait, **changes})
        assert answer.status_code in (200, 204), answer.text
        return None if answer.status_code == 204 else answer.json()

    def say(self, batch: Json, verb: str, **options: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {batch['lease_token']}"}
        return self.served.stranger().post(f"/v1/worker/predictions/{batch['batch_id']}/{verb}", headers=headers, **options)

    def answer(self, batch: Json, *answers: Json) -> None:
        said = self.say(batch, "answers", json={"answers": list(answers)})
        assert said.status_code == 204, said.text

    def waiting(self) -> int:
        with self.served.state.db.read() as tx:
            return tx.scalar(select(func.count()).select_from(prediction_requests)) or 0


def push(client: Client, weights: bytes, name: str = "digits") -> None:
    sha256 = sha256_of(weights)
    assert client.put(f"/v1/uploads/{sha256}", params={"size": len(weights)}, content=weights).status_code == 200
    files = [{"path": "model.safetensors", "size": len(weights), "sha256": sha256}]
    answer = client.post(f"/v1/models/{name}/versions", json={"files": files})
    assert answer.status_code in (200, 201), answer.text


def echo(task: Json, **more: Any) -> Json:
    return {"request_id": task["id"], "rows": [{"prediction": {"said": row}} for row in task["rows"]], "batch_size": 1, **more}


def found(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [item["pointer"] for item in answer.json()["errors"]]

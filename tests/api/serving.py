"""A real server of the API inside the test process: uvicorn on a free port, and clients that hold keys."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from fastapi.routing import APIRoute
from pydantic import SecretStr

from api.app import create_app
from api.deps import ApiState
from api.routes import VERSIONED
from api.server import make_server
from core.access.keys import create_key
from core.clock import SystemClock
from core.settings import ApiSettings
from core.wire.keys import Scope
from tests.bed.waiting import until

Json = dict[str, Any]
# Every operation below /v1, as (method, path).
ROUTES = [
    (method, f"/v1{route.path}")
    for module in VERSIONED
    for route in module.router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods)
]
SPEC: Json = {"recipe": "scripted", "training": {"steps": 3}}


class Client(httpx2.Client):
    """One key's view of the server; with the few calls that many tests make."""

    def submit(self, **changes: Any) -> str:
        answer = self.post("/v1/jobs", json={**SPEC, **changes})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> Json:
        answer = self.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found


class Node(Client):
    """A worker that never trains: it registers, claims and speaks for its attempts."""

    def register(self, name: str = "node-1", devices: int = 2, **changes: Any) -> str:
        body = {
            "name": name,
            "protocol": 1,
            "version": "0.1.0",
            "accelerator": "cpu",
            "devices": [{"index": index, "name": "cpu slot"} for index in range(devices)],
        }
        answer = self.post("/v1/worker/register", json={**body, **changes})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["worker_id"])

    def claim(self, worker_id: str, devices: tuple[int, ...] = (0, 1)) -> Json | None:
        answer = self.post("/v1/worker/claim", json={"worker_id": worker_id, "devices": list(devices)})
        assert answer.status_code in (200, 204), answer.text
        return None if answer.status_code == 204 else answer.json()

    def say(self, claim: Json, verb: str, **body: Any) -> httpx2.Response:
        """A call of this attempt's lease."""
        headers = {"Authorization": f"Bearer {claim['lease_token']}"}
        return self.post(f"/v1/worker/attempts/{claim['attempt_id']}/{verb}", json=body, headers=headers)


class Served:
    """A running server. Keys are made straight in its ledger."""

    def __init__(self, url: str, state: ApiState) -> None:
        self.url = url
        self.state = state
        self._clients: list[httpx2.Client] = []

    def key(self, *scopes: Scope, project: str = "default") -> str:
        with self.state.db.begin() as tx:
            return create_key(tx, project=project, name="test", scopes=scopes, now=SystemClock().now()).key

    def client(self, *scopes: Scope, project: str = "default") -> Client:
        return self._keep(Client(**self._options(self.key(*(scopes or (Scope.ADMIN,)), project=project))))

    def node(self) -> Node:
        return self._keep(Node(**self._options(self.key(Scope.WORKER))))

    def stranger(self) -> Client:
        """A client without a key."""
        return self._keep(Client(base_url=self.url, timeout=30))

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def _options(self, key: str) -> Json:
        return {"base_url": self.url, "headers": {"Authorization": f"Bearer {key}"}, "timeout": 30}

    def _keep(self, client: Any) -> Any:
        self._clients.append(client)
        return client


@contextmanager
def serving(database_url: str, folder: Path, **settings: Any) -> Iterator[Served]:
    """A server of this ledger while the block runs."""
    chosen = {"maintenance_seconds": 0.1, "port": 0, "data_dir": folder / "bytes", **settings}
    values = ApiSettings(database_url=SecretStr(database_url), **chosen)
    app = create_app(values)
    server = make_server(app, values)
    thread = threading.Thread(target=server.run, name="server")
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), within=20, what="the server listens")
        port = server.servers[0].sockets[0].getsockname()[1]
        served = Served(f"http://127.0.0.1:{port}", app.state.trainyard)
        yield served
        served.close()
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive(), "the server did not stop"

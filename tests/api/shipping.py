"""A supervisor that ships without training: what tests of bytes over HTTP speak through."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx2

from tests.api.serving import Json, Node, Served

STREAM = {"Accept": "text/event-stream"}


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Shipper:
    """One attempt of one job, with its lease."""

    def __init__(self, served: Served, **spec: Any) -> None:
        self.admin = served.client()
        self.job_id = self.admin.submit(**spec)
        self._attach(served, served.node())

    def _attach(self, served: Served, node: Node) -> None:
        self.node = node
        claim = node.claim(node.register(f"node-{self.job_id}"))
        assert claim is not None
        assert claim["job_id"] == self.job_id
        self.claim: Json = claim
        self.http = served.stranger()
        self.http.headers["Authorization"] = f"Bearer {claim['lease_token']}"
        self.url = f"/v1/worker/attempts/{claim['attempt_id']}"

    def put_blob(self, data: bytes, *, offset: int = 0, size: int | None = None, sha256: str | None = None) -> httpx2.Response:
        """``data`` is the body: the bytes from ``offset`` on."""
        asked = {"offset": offset, "size": len(data) if size is None else size}
        return self.http.put(f"{self.url}/blobs/{sha256 or sha256_of(data)}", params=asked, content=data)

    def put_log(self, offset: int, data: bytes, rank: int = 0, stream: str = "stdout") -> httpx2.Response:
        return self.http.put(f"{self.url}/logs/{rank}/{stream}", params={"offset": offset}, content=data)

    def post(self, verb: str, **body: Any) -> httpx2.Response:
        return self.http.post(f"{self.url}/{verb}", json=body)

    def hand_over(self, verb: str = "artifacts", files: dict[str, bytes] | None = None, **others: Any) -> httpx2.Response:
        """Uploads the files and commits their manifest."""
        for data in (files or {}).values():
            assert self.put_blob(data).status_code == 200
        listed = [{"path": path, "size": len(data), "sha256": sha256_of(data)} for path, data in (files or {}).items()]
        return self.post(verb, manifest={"files": listed}, **others)

    def finish(self, reason: str = "completed") -> None:
        assert self.post("finish", reason=reason).status_code == 200

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self.admin.get(f"/v1/jobs/{self.job_id}/{path}", **options)


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, str, Json]]:
    """Id, name and data of each event of a stream."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif not line and "data" in fields:
            yield fields["id"], fields.get("event", ""), json.loads(fields["data"])
            fields = {}

"""Datasets over HTTP, and a node that validates them without looking."""

import json
from typing import Any

import httpx2

from tests.api.serving import Client, Json, Node, Served
from tests.api.shipping import sha256_of

PROFILE: Json = {
    **{"format": "csv", "task": None, "is_task_told": False, "num_rows": 2, "splits": {"all": 2}},
    **{"num_files": 2, "num_bytes": 6, "num_findings": 0},
}


class Pusher:
    """One project's datasets; ``node`` ends what it claims as told."""

    def __init__(self, served: Served, *, project: str = "default") -> None:
        self.http: Client = served.client(project=project)
        self._served = served

    def create(self, name: str = "birds", **more: Any) -> Json:
        answer = self.http.post("/v1/datasets", json={"name": name, **more})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def put(self, path: str, data: bytes = b"x", name: str = "birds", **options: Any) -> httpx2.Response:
        return self.http.put(f"/v1/datasets/{name}/files/{path}", content=data, **options)

    def send(self, data: bytes) -> None:
        answer = self.http.put(f"/v1/uploads/{sha256_of(data)}", params={"size": len(data)}, content=data)
        assert answer.status_code == 200, answer.text

    def listed(self, files: dict[str, bytes]) -> list[Json]:
        return [{"path": path, "size": len(data), "sha256": sha256_of(data)} for path, data in files.items()]

    def add(self, files: dict[str, bytes], name: str = "birds") -> httpx2.Response:
        for data in files.values():
            self.send(data)
        return self.http.post(f"/v1/datasets/{name}/versions", json={"files": self.listed(files)})

    def commit(self, name: str = "birds") -> httpx2.Response:
        return self.http.post(f"/v1/datasets/{name}/commit")

    def version(self, number: int | str = "latest", name: str = "birds") -> Json:
        answer = self.http.get(f"/v1/datasets/{name}/versions/{number}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def validate(self, *, valid: bool = True, report: str = "<p>fine</p>", **profile: Any) -> Json:
        """The next job, a validation, leaves a profile and a report and ends; its claim."""
        node: Node = self._served.node()
        claim = node.claim(node.register("validator"))
        assert claim is not None
        lease = {"Authorization": f"Bearer {claim['lease_token']}"}
        url = f"/v1/worker/attempts/{claim['attempt_id']}"
        left = {"profile.json": json.dumps({**PROFILE, "valid": valid, **profile}).encode(), "report.html": report.encode()}
        for data in left.values():
            node.put(f"{url}/blobs/{sha256_of(data)}", params={"offset": 0, "size": len(data)}, content=data, headers=lease)
        assert node.say(claim, "artifacts", manifest={"files": self.listed(left)}).status_code == 200
        assert node.say(claim, "finish", reason="completed", metrics={"valid": float(valid)}).status_code == 200
        return claim

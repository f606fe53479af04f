"""The client's calls for scripts of your own: their code, and the secrets they are handed."""

import json
from pathlib import Path

from core.manifest import ManifestFile
from core.wire.base import Page
from core.wire.secrets import Secret
from trainyard.transport import Call, Transport, read
from trainyard.uploads import Advance, describe_file, upload_file


class ScriptCalls:
    """A part of ``Client``."""

    _transport: Transport

    def upload(self, path: str | Path, *, on_bytes: Advance | None = None) -> ManifestFile:
        """Has the server hold a file, whose SHA-256 and size a spec can then name: ``"code": {"sha256": ..., "size": ...}``."""
        described = describe_file(Path(path), Path(path).name)
        upload_file(self._transport, Path(path), described, on_bytes)
        return described

    def set_secret(self, name: str, value: str) -> Secret:
        """Sets or replaces a secret of the project; nothing reads it back."""
        headers = {"Content-Type": "application/json"}
        body = json.dumps({"value": value}).encode()
        return read(Secret, self._transport.answer(Call(method="PUT", path=f"/v1/secrets/{name}", body=body, headers=headers)))

    def secrets(self) -> list[Secret]:
        return self._transport.get(Page[Secret], "/v1/secrets").data

    def remove_secret(self, name: str) -> None:
        self._transport.answer(Call(method="DELETE", path=f"/v1/secrets/{name}"))

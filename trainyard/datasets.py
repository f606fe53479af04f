"""Datasets: the client's calls, and how a folder becomes a version.

A push reads every file once to learn its SHA-256, sends what the server does not have, and names them all in one request.
Whatever ended it, the next push goes on where this one was: what has been sent is not sent again.
"""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import JsonValue, TypeAdapter

from core.manifest import ManifestFile
from core.wire.base import Page
from core.wire.datasets import Dataset, DatasetFile, DatasetVersion
from trainyard.calls import Calls
from trainyard.downloads import Advance, RemoteFile, download_all
from trainyard.errors import ApiError, BadInput, Conflict
from trainyard.pushing import LocalFile, Told, files_below, push_file, quiet
from trainyard.transport import Call, Parameters, read

HIDDEN = (".", "__MACOSX")  # what no reader of datasets looks at
FILES_PAGE = 1000
POLL_SECONDS = 0.25
MANIFEST_PATIENCE = 300.0  # seconds: the server stores a row for each of up to 100,000 files
LATEST: Literal["latest"] = "latest"
VersionLike = int | Literal["latest"]
_PROFILE: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class DatasetCalls(Calls):
    """Datasets of the key's project."""

    def datasets(self, *, limit: int | None = None) -> Iterator[Dataset]:
        """Newest first, without their versions."""
        return self._items(Page[Dataset], "/v1/datasets", limit=limit)

    def dataset(self, name: str) -> Dataset:
        """With its newest versions."""
        return self._transport.get(Dataset, _url(name))

    def dataset_version(self, name: str, version: VersionLike = LATEST) -> DatasetVersion:
        return self._transport.get(DatasetVersion, _url(name, version))

    def create_dataset(self, name: str, *, task: str | None = None) -> Dataset:
        """Conflict when there is one of this name."""
        return self._post(Dataset, "/v1/datasets", _json({"name": name, "task": task}), headers=_once())

    def ensure_dataset(self, name: str, *, task: str | None = None) -> Dataset:
        """The dataset of this name, made when there is none; ``task`` counts for a new one alone."""
        try:
            return self.create_dataset(name, task=task)
        except Conflict:
            return self.dataset(name)

    def push_dataset(
        self, path: str | Path, name: str | None = None, *, task: str | None = None, on_bytes: Told | None = None
    ) -> DatasetVersion:
        """Makes a file or a folder the newest version of a dataset; the one that is there when nothing has changed.

        Hidden files are left out. The answer comes before the validation has ended, see ``wait_for_dataset``. Raises BadInput
        for what cannot be read or named, else ApiError and CannotConnect.
        """
        root = Path(path)
        files = local_files(root)
        dataset = self.ensure_dataset(name or dataset_name(root), task=task)
        with self._transport.patient():
            described = [push_file(self._transport, file, on_bytes or quiet) for file in files]
            return self._add_version(dataset.name, described)

    def wait_for_dataset(self, version: DatasetVersion, *, timeout: float | None = None) -> DatasetVersion:
        """The version once it is ready or invalid, else TimeoutError after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._transport.patient():
            return self._wait(version, timeout, deadline)

    def _wait(self, version: DatasetVersion, timeout: float | None, deadline: float | None) -> DatasetVersion:
        while not version.is_terminal:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"{version.dataset}@{version.number} is {version.state} after {timeout:g} s")
            self._await_job(version, left)
            version = self.dataset_version(version.dataset, version.number)
        return version

    def dataset_profile(self, name: str, version: VersionLike = LATEST) -> dict[str, Any]:
        """What the validation found. NotFound until it has ended."""
        response = self._transport.answer(Call(method="GET", path=f"{_url(name, version)}/profile"))
        return _PROFILE.validate_json(response.content)

    def dataset_report(self, name: str, version: VersionLike = LATEST) -> bytes:
        """The same as a page of HTML, which runs no script and loads nothing. NotFound until the validation has ended."""
        return self._transport.answer(Call(method="GET", path=f"{_url(name, version)}/report")).content

    def dataset_files(self, name: str, version: VersionLike = LATEST) -> Iterator[DatasetFile]:
        """In path order."""
        after: str | None = None
        while True:
            params: Parameters = {"after": after, "limit": FILES_PAGE}
            page = self._transport.get(Page[DatasetFile], f"{_url(name, version)}/files", params)
            yield from page.data
            after = page.last_id
            if not page.has_more or after is None:
                return

    def download_dataset(
        self, name: str, folder: str | Path, *, version: VersionLike = LATEST, on_bytes: Advance | None = None
    ) -> list[Path]:
        """Every file, verified, below ``folder``; a broken download goes on where it stopped."""
        number = self.dataset_version(name, version).number  # one version, also when another becomes the latest meanwhile
        files = [remote_file(file) for file in self.dataset_files(name, number)]
        return download_all(self._transport, files, Path(folder), on_bytes)

    def prepare_dataset(
        self,
        name: str,
        steps: Sequence[dict[str, JsonValue]],
        *,
        version: VersionLike = LATEST,
        seed: int = 0,
        into: str | None = None,
    ) -> DatasetVersion:
        """A new version, made by a job from another one by these steps; of the dataset ``into`` when given."""
        body = _json({"version": version, "steps": list(steps), "seed": seed, "as": into})
        return self._post(DatasetVersion, f"{_url(name)}/prepare", body, headers=_once())

    def delete_dataset(self, name: str, version: int | None = None) -> None:
        """One version, or all of it. Conflict while a job that has not ended needs it."""
        self._transport.answer(Call(method="DELETE", path=_url(name, version)))

    def _add_version(self, name: str, files: list[ManifestFile]) -> DatasetVersion:
        body = _json({"files": [file.model_dump() for file in files]})
        call = Call(method="POST", path=f"{_url(name)}/versions", body=body, headers=_once(), patience=MANIFEST_PATIENCE)
        return read(DatasetVersion, self._transport.answer(call))

    def _await_job(self, version: DatasetVersion, left: float | None) -> None:
        """Waits at the server for the job's end; what follows from it is written with it, or a moment later."""
        wait = 30.0 if left is None else min(left, 30.0)
        try:
            call = Call(method="GET", path=f"/v1/jobs/{version.job_id}", params={"wait": f"{wait:.3f}"}, patience=wait + 15)
            is_over = b'"is_terminal":true' in self._transport.answer(call).content
        except ApiError:
            is_over = True
        if is_over:
            self._transport.sleep(POLL_SECONDS)


def local_files(root: Path) -> list[LocalFile]:
    """The file itself, or all files below the folder, by path; BadInput when there is none, or a link leads out of it."""
    if root.is_file():
        return [LocalFile(root, root.name, root.stat().st_size)]
    if not root.is_dir():
        raise BadInput(f"there is no file or folder {root}")
    return files_below(root, hidden=HIDDEN)


def dataset_name(root: Path) -> str:
    """A dataset's name made from that of a file or folder."""
    stem = root.resolve().name.split(".")[0] or "dataset"
    name = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in stem)
    return name.strip("._-")[:64] or "dataset"


def remote_file(file: DatasetFile) -> RemoteFile:
    return RemoteFile(file.path, file.size, file.sha256, f"{_url(file.dataset, file.version)}/files/{quote(file.path)}")


def _json(values: dict[str, Any]) -> bytes:
    """What is not given is left out; whether the rest will do is for the server to say, with the place of each problem."""
    return json.dumps({name: value for name, value in values.items() if value is not None}).encode()


def _once() -> dict[str, str]:
    """A key of its own for each request, so that its retries do nothing twice."""
    return {"Idempotency-Key": str(uuid.uuid4())}


def _url(name: str, version: VersionLike | None = None) -> str:
    url = f"/v1/datasets/{quote(name, safe='')}"
    return url if version is None else f"{url}/versions/{version}"

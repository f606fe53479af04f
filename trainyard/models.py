"""Models: the client's calls, and how a folder of one's own becomes a version."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from core.manifest import MANIFEST
from core.spec import Dataset
from core.wire.base import Page
from core.wire.models import (
    AddModelVersionRequest,
    ModelComparison,
    ModelEvent,
    ModelFile,
    ModelVersion,
    PromoteRequest,
    Promotion,
    RegisteredModel,
    RegisterModelRequest,
    UnlessWorse,
)
from trainyard.calls import PAGE, Calls
from trainyard.downloads import Advance, RemoteFile, download_all
from trainyard.errors import BadInput
from trainyard.pushing import LocalFile, Told, files_below, push_file, quiet
from trainyard.transport import Call, read

MANIFEST_PATIENCE = 300.0  # seconds: the server reads the header of every file of weights
POLL_SECONDS = 0.5
VersionLike = int | str  # a number, an alias, or latest


class ModelCalls(Calls):
    """Models of the key's project."""

    def models(self, *, limit: int | None = None) -> Iterator[RegisteredModel]:
        """Newest first."""
        return self._items(Page[RegisteredModel], "/v1/models", limit=limit)

    def model(self, name: str) -> RegisteredModel:
        return self._transport.get(RegisteredModel, _url(name))

    def model_versions(self, name: str, *, limit: int | None = None) -> Iterator[ModelVersion]:
        """Newest first."""
        return self._items(Page[ModelVersion], f"{_url(name)}/versions", limit=limit)

    def model_version(self, name: str, version: VersionLike = "latest") -> ModelVersion:
        return self._transport.get(ModelVersion, _url(name, version))

    def model_files(self, name: str, version: VersionLike = "latest") -> list[ModelFile]:
        """In path order."""
        return self._transport.get(Page[ModelFile], f"{_url(name, version)}/files").data

    def model_events(self, name: str, *, alias: str | None = None) -> Iterator[ModelEvent]:
        """The model's history, oldest first; of one alias alone where it is named."""
        after = 0
        while True:
            page = self._transport.get(Page[ModelEvent], f"{_url(name)}/events", {"after": after, "limit": PAGE, "alias": alias})
            yield from page.data
            if not page.has_more or not page.data:
                return
            after = page.data[-1].seq

    def register_model(self, name: str, job_id: str, *, description: str | None = None) -> ModelVersion:
        """The package of a succeeded job as a version of the model; the same job again is the same version."""
        request = RegisterModelRequest(name=name, job=job_id, description=description)
        return self._post(ModelVersion, "/v1/models", request.model_dump_json(exclude_none=True).encode())

    def push_model(self, folder: str | Path, name: str, *, on_bytes: Told | None = None) -> ModelVersion:
        """A folder of one's own as a version of the model; the same files again are the same version.

        It must hold ``.safetensors``; files named like pickles are refused. Whatever ended a push, the next one goes on from there.
        ``on_bytes(what, file, num_bytes)`` hears of progress. Raises BadInput for what cannot be read or named.
        """
        described = [push_file(self._transport, file, on_bytes or quiet) for file in local_files(Path(folder))]
        body = AddModelVersionRequest(files=tuple(described)).model_dump_json(exclude_none=True).encode()
        call = Call(method="POST", path=f"{_url(name)}/versions", body=body, patience=MANIFEST_PATIENCE)
        return read(ModelVersion, self._transport.answer(call))

    def download_model(
        self, name: str, folder: str | Path, *, version: VersionLike = "latest", on_bytes: Advance | None = None
    ) -> list[Path]:
        """Every file, verified, below ``folder``; a broken download goes on where it stopped."""
        number = self.model_version(name, version).version  # one version, also when an alias moves meanwhile
        files = [_remote(name, number, file) for file in self.model_files(name, number)]
        return download_all(self._transport, files, Path(folder), on_bytes)

    def promote(
        self,
        name: str,
        version: VersionLike,
        alias: str,
        *,
        unless_worse: str | None = None,
        tolerance: float = 0.0,
        dataset: Dataset | None = None,
        higher_is_better: bool | None = None,
    ) -> Promotion:
        """Points the alias to the version; with the metric ``unless_worse`` only if it is no worse there than the present one.

        Conflict with code ``check_failed`` says both numbers. With a dataset the answer is pending, see ``wait_for_promotion``.
        """
        check = None
        if unless_worse is not None:
            check = UnlessWorse(metric=unless_worse, tolerance=tolerance, dataset=dataset, higher_is_better=higher_is_better)
        body = PromoteRequest(version=version, unless_worse=check).model_dump_json(exclude_none=True).encode()
        call = Call(method="PUT", path=f"{_url(name)}/aliases/{quote(alias, safe='')}", body=body, is_repeatable=dataset is None)
        return read(Promotion, self._transport.answer(call))

    def promotion(self, name: str, promotion_id: str) -> Promotion:
        return self._transport.get(Promotion, f"{_url(name)}/promotions/{promotion_id}")

    def wait_for_promotion(self, promotion: Promotion, *, timeout: float | None = None) -> Promotion:
        """The promotion once it is decided, else TimeoutError after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while promotion.outcome == "pending" and promotion.id is not None:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{promotion.id} is still pending after {timeout:g} s")
            self._transport.sleep(POLL_SECONDS)
            promotion = self.promotion(promotion.name, promotion.id)
        return promotion

    def remove_alias(self, name: str, alias: str) -> None:
        """The version that it pointed to stays."""
        self._transport.answer(Call(method="DELETE", path=f"{_url(name)}/aliases/{quote(alias, safe='')}"))

    def compare_models(self, name: str, a: VersionLike, b: VersionLike) -> ModelComparison:
        """Two versions side by side."""
        return self._transport.get(ModelComparison, f"{_url(name)}/compare", {"a": a, "b": b})

    def delete_model_version(self, name: str, version: VersionLike) -> None:
        """Conflict while an alias points to it, or a job that has not ended starts from it."""
        self._transport.answer(Call(method="DELETE", path=_url(name, version)))


def local_files(folder: Path) -> list[LocalFile]:
    """All files of the folder but hidden ones and a package's own manifest. BadInput when there is none, or a link leads out."""
    found = [file for file in files_below(folder) if file.name != MANIFEST]
    if not found:
        raise BadInput(f"there is no file in {folder} but {MANIFEST}")
    return found


def _remote(name: str, version: int, file: ModelFile) -> RemoteFile:
    return RemoteFile(file.path, file.size, file.sha256, f"{_url(name, version)}/files/{quote(file.path)}")


def _url(name: str, version: VersionLike | None = None) -> str:
    url = f"/v1/models/{quote(name, safe='')}"
    return url if version is None else f"{url}/versions/{quote(str(version), safe='')}"

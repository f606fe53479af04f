"""Datasets in a world: versions made of texts, and the jobs that validate them ended at once."""

import hashlib
from dataclasses import dataclass

from core.artifacts.uploads import note_upload
from core.datasets.add_file import add_file
from core.datasets.add_version import add_version
from core.datasets.create import create_dataset
from core.datasets.queries import get_version
from core.datasets.settle import settle_datasets
from core.manifest import ManifestFile
from core.states import Reason
from core.wire.datasets import CreateDatasetRequest, Dataset, DatasetFile, DatasetVersion
from core.wire.worker import Claim
from tests.ledger.world import World

NO_LIMIT = 10_000


def described(path: str, content: str) -> ManifestFile:
    data = content.encode()
    return ManifestFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())


@dataclass
class Datasets:
    """What a project does with datasets, in the words of the verbs; the byte store is beside the point."""

    world: World
    project: str

    def create(self, name: str = "birds", task: str | None = None) -> Dataset:
        with self.world.db.begin() as tx:
            return create_dataset(tx, self.project, CreateDatasetRequest(name=name, task=task), self.world.now)

    def send(self, *files: ManifestFile) -> None:
        with self.world.db.begin() as tx:
            for file in files:
                note_upload(tx, self.project, file.sha256, file.size, self.world.now)

    def add(self, files: dict[str, str], name: str = "birds") -> DatasetVersion:
        """A version of these paths and contents, sent before."""
        listed = [described(path, content) for path, content in files.items()]
        self.send(*listed)
        with self.world.db.begin() as tx:
            return add_version(tx, self.project, name, listed, now=self.world.now, max_queued=NO_LIMIT)[0]

    def put(self, path: str, content: str = "x", name: str = "birds") -> DatasetFile:
        """One file into the open version."""
        file = described(path, content)
        self.send(file)
        with self.world.db.begin() as tx:
            return add_file(tx, self.project, name, file, self.world.now)

    def version(self, number: int, name: str = "birds") -> DatasetVersion:
        with self.world.db.read() as tx:
            return get_version(tx, self.project, name, number)

    def settle(self) -> int:
        with self.world.db.begin() as tx:
            return settle_datasets(tx, self.world.now).num_versions

    def validate(self, worker: str, *, valid: float = 1.0, **metrics: float) -> Claim:
        """The next job, which must be a validation, ends with this verdict."""
        held = self.world.run(worker, (0,))
        assert held.spec.recipe == "dataset-validation"
        self.world.finish(held, Reason.COMPLETED, metrics={"valid": valid, **metrics})
        self.settle()
        return held

    def ready(self, worker: str, files: dict[str, str], name: str = "birds") -> DatasetVersion:
        """A version that has been found valid."""
        version = self.add(files, name)
        self.validate(worker)
        return self.version(version.number, name)

"""A job makes a version from another one, which remembers from what and how."""

import pytest

from core.artifacts.artifacts import commit_artifacts
from core.artifacts.blobs import note_blob
from core.datasets.prepare import prepare_version
from core.datasets.queries import get_dataset
from core.errors import InvalidInput, NotFound
from core.manifest import Manifest, ManifestFile
from core.states import DatasetState, Reason
from core.wire.datasets import PrepareRequest
from core.wire.worker import ArtifactsRequest
from tests.ledger.datasets import NO_LIMIT, Datasets, described


def prepare(mine: Datasets, **changes: object) -> int:
    request = PrepareRequest.model_validate({"steps": [{"do": "drop_duplicates"}], "seed": 3, **changes})
    with mine.world.db.begin() as tx:
        return prepare_version(tx, mine.project, "birds", request, now=mine.world.now, max_queued=NO_LIMIT).number


def leave(mine: Datasets, node: str, *paths: str, reason: Reason = Reason.COMPLETED) -> None:
    """The next job, a preparation, leaves these artifacts and ends."""
    held = mine.world.run(node, (0,))
    assert held.spec.recipe == "dataset-preparation"
    assert held.datasets["training"].files
    files = [ManifestFile(path=path, size=1, sha256=described(path, "y").sha256) for path in paths]
    with mine.world.fenced(held) as (tx, fence):
        for file in files:
            note_blob(tx, file.sha256, file.size, mine.world.now)
        commit_artifacts(tx, fence, ArtifactsRequest(manifest=Manifest(files=tuple(files))), mine.world.now)
    mine.world.finish(held, reason, message="step 1: no column 'x'")
    mine.settle()


def test_a_preparation_makes_a_version_that_knows_where_it_comes_from(mine: Datasets, node: str) -> None:
    first = mine.ready(node, {"rows.csv": "a"})
    number = prepare(mine)
    made = mine.version(number)
    assert (made.state, made.number) == (DatasetState.UPLOADING, 2)
    assert made.lineage is not None
    assert (made.lineage.dataset, made.lineage.version, made.lineage.digest, made.lineage.seed) == ("birds", 1, first.digest, 3)
    assert mine.put("other.csv").version == 3, "uploads do not go into what a job makes"
    leave(mine, node, "data/train.csv", "data/test.csv", "preparation.json")
    validating = mine.version(2)
    assert (validating.state, validating.num_files) == (DatasetState.VALIDATING, 2)
    held = mine.validate(node)
    assert [file.path for file in held.datasets["training"].files] == ["test.csv", "train.csv"]
    ready = mine.version(2)
    assert (ready.state, ready.lineage) == (DatasetState.READY, made.lineage)


def test_a_preparation_that_fails_or_leaves_nothing_is_an_invalid_version(mine: Datasets, node: str) -> None:
    mine.ready(node, {"rows.csv": "a"})
    failed = prepare(mine)
    leave(mine, node, reason=Reason.INVALID_DATA)
    assert mine.version(failed).message == "its preparation failed: step 1: no column 'x'"
    empty = prepare(mine, **{"as": "fewer-birds"})
    leave(mine, node, "preparation.json")
    with mine.world.db.read() as tx:
        version = get_dataset(tx, mine.project, "fewer-birds").versions[0]
    assert (empty, version.state, version.message) == (1, DatasetState.INVALID, "the preparation left no files")


def test_a_preparation_of_what_nobody_has_closed_is_refused(mine: Datasets) -> None:
    with pytest.raises(NotFound):
        prepare(mine)
    mine.put("a")
    with pytest.raises(InvalidInput) as refused:
        prepare(mine, version=1)
    assert refused.value.problems[0].pointer == "/version"
    with mine.world.db.read() as tx:
        assert len(get_dataset(tx, mine.project, "birds").versions) == 1

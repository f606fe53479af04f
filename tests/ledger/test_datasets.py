"""Versions of datasets: final, numbered, validated by a job, kept while they are needed."""

import pytest
from sqlalchemy import func, select

from core.access.projects import ensure_project
from core.artifacts.blobs import readable_size
from core.artifacts.orphans import collect_orphans
from core.artifacts.store import FolderStore
from core.artifacts.uploads import require_uploads
from core.datasets.commit import commit_version
from core.datasets.queries import get_dataset, get_file, list_datasets, list_files, list_versions
from core.datasets.remove import remove_dataset, remove_version
from core.datasets.transitions import move_version
from core.db.dataset_tables import dataset_files
from core.db.tables import blobs
from core.errors import Conflict, IllegalMove, InvalidInput, NotFound, TooManyQueued
from core.manifest import content_key
from core.states import DatasetState, JobState, Reason
from tests.ledger.datasets import NO_LIMIT, Datasets, described

TRAIN = {"recipe": "image-classification", "dataset": "birds"}


def refusal(mine: Datasets, **spec: object) -> tuple[str, str]:
    """Pointer and code of why a job is not taken."""
    with pytest.raises(InvalidInput) as refused:
        mine.world.submit(**{**TRAIN, **spec})
    return refused.value.problems[0].pointer, refused.value.problems[0].code


def test_a_version_is_validated_by_a_job_and_then_ready(mine: Datasets, node: str) -> None:
    version = mine.add({"a/1.png": "one", "b/2.png": "two"})
    assert (version.number, version.state, version.num_files, version.num_bytes) == (1, DatasetState.VALIDATING, 2, 6)
    assert version.digest == content_key([described("b/2.png", "two"), described("a/1.png", "one")])
    assert version.job_id is not None
    spec = mine.world.job(version.job_id).spec
    assert spec.model_dump(mode="json")["dataset"] == {"name": "birds", "version": 1}
    held = mine.validate(node)
    assert held.job_id == version.job_id
    assert [file.path for file in held.datasets["training"].files] == ["a/1.png", "b/2.png"]
    ready = mine.version(1)
    assert (ready.state, ready.is_terminal, ready.message) == (DatasetState.READY, True, None)


@pytest.mark.parametrize(
    ("reason", "metrics", "message"),
    [
        (Reason.COMPLETED, {"valid": 0.0, "num_findings": 3.0}, "3 findings, see the profile"),
        (Reason.COMPLETED, {"valid": 0.0, "num_findings": 1.0}, "1 finding, see the profile"),
        (Reason.COMPLETED, {}, "not valid, see the profile"),
        (Reason.INVALID_DATA, {}, "its validation failed: row 7 is broken"),
    ],
)
def test_a_version_that_is_not_valid_says_why(mine: Datasets, node: str, reason: Reason, metrics: dict[str, float], message: str) -> None:
    mine.add({"rows.csv": "a,b"})
    mine.world.finish(mine.world.run(node, (0,)), reason, metrics=metrics, message="row 7 is broken")
    assert mine.settle() == 1
    assert (mine.version(1).state, mine.version(1).message) == (DatasetState.INVALID, message)
    assert mine.settle() == 0
    assert refusal(mine, dataset="birds@1") == ("/dataset", "not_ready")


def test_nothing_stays_validating_when_its_job_is_cancelled_before_it_ran(mine: Datasets) -> None:
    version = mine.add({"rows.csv": "a,b"})
    assert mine.settle() == 0
    assert version.job_id is not None
    mine.world.cancel(version.job_id)
    assert mine.settle() == 1
    assert mine.version(1).message == "its validation was cancelled"


def test_a_validation_that_is_tried_again_settles_nothing_before_its_end(mine: Datasets, node: str) -> None:
    mine.add({"rows.csv": "a,b"})
    mine.world.lose(mine.world.run(node, (0,)))
    assert mine.settle() == 0
    mine.world.pass_time(3600)
    mine.validate(mine.world.node())
    assert mine.version(1).state is DatasetState.READY


def test_the_same_bytes_are_stored_once_and_the_same_files_are_one_version(mine: Datasets, node: str) -> None:
    first = mine.ready(node, {"a": "one", "b": "two"})
    second = mine.ready(node, {"a": "one", "b": "three"})
    assert (first.number, second.number) == (1, 2)
    with mine.world.db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(blobs)) == 3
        assert tx.scalar(select(func.count()).select_from(dataset_files)) == 4
    assert mine.add({"b": "three", "a": "one"}).id == second.id
    assert mine.add({"a": "one", "b": "two"}).number == 3, "what was the newest before is new again"


def test_only_the_table_s_moves_are_made(mine: Datasets, node: str) -> None:
    version = mine.ready(node, {"a": "one"})
    for state in (DatasetState.VALIDATING, DatasetState.INVALID, DatasetState.UPLOADING):
        with pytest.raises(IllegalMove, match="ready"), mine.world.db.begin() as tx:
            move_version(tx, version.id, state, {})


def test_a_job_records_the_exact_version_that_latest_meant(mine: Datasets, node: str) -> None:
    mine.ready(node, {"a": "one"})
    job_id = mine.world.submit(**TRAIN)
    second = mine.ready(node, {"a": "two"}) if mine.world.cancel(job_id) else None
    assert second is not None
    assert '"dataset":{"name":"birds","version":1}' in mine.world.columns(job_id).spec
    submitted = mine.world.events(job_id)[0].data["datasets"]
    assert submitted == {"training": {"version_id": mine.version(1).id, "name": "birds", "number": 1, "digest": mine.version(1).digest}}
    newer = mine.world.submit(**TRAIN)
    assert '"version":2' in mine.world.columns(newer).spec
    held = mine.world.run(node)
    assert held.job_id == newer
    assert held.datasets["training"].files == (described("a", "two"),)


def test_a_name_that_means_nothing_here_is_refused_with_its_place(mine: Datasets, node: str) -> None:
    assert refusal(mine, dataset="fish") == ("/dataset", "not_found")
    assert refusal(mine) == ("/dataset", "not_found"), "no version is ready"
    assert refusal(mine, dataset="birds@7") == ("/dataset", "not_found")
    mine.put("b")
    assert refusal(mine, dataset="birds@1") == ("/dataset", "not_ready"), "nobody has said that it is complete"


def test_another_project_has_none_of_it(mine: Datasets, node: str) -> None:
    version = mine.ready(node, {"a": "one"})
    with mine.world.db.begin() as tx:
        other = ensure_project(tx, "other", mine.world.now)
    theirs = Datasets(mine.world, other)
    with mine.world.db.read() as tx:
        assert list_datasets(tx, other).data == []
        for ask in (
            lambda: get_dataset(tx, other, "birds"),
            lambda: list_versions(tx, other, "birds"),
            lambda: list_files(tx, other, "birds", 1),
            lambda: get_file(tx, other, "birds", 1, "a"),
        ):
            with pytest.raises(NotFound):
                ask()
        with pytest.raises(InvalidInput, match="not been uploaded"):
            require_uploads(tx, other, [described("a", "one")])
    with pytest.raises(InvalidInput):
        mine.world.submit(project=other, **TRAIN)
    with pytest.raises(NotFound), mine.world.db.begin() as tx:
        remove_dataset(tx, other, "birds")
    theirs.create()
    assert theirs.add({"a": "one"}).number == 1
    assert mine.version(1).id == version.id


def test_an_attempt_reads_the_files_of_its_own_datasets_and_no_others(mine: Datasets, node: str) -> None:
    mine.ready(node, {"a": "one"})
    mine.ready(node, {"a": "two"})
    mine.world.submit(**{**TRAIN, "dataset": "birds@1"})
    with mine.world.fenced(mine.world.run(node)) as (tx, fence):
        assert readable_size(tx, fence, described("a", "one").sha256) == 3
        with pytest.raises(NotFound):
            readable_size(tx, fence, described("a", "two").sha256)


def test_what_a_job_needs_is_not_deleted(mine: Datasets, node: str) -> None:
    mine.ready(node, {"a": "one"})
    job_id = mine.world.submit(**TRAIN)
    for remove in (lambda tx: remove_version(tx, mine.project, "birds", 1), lambda tx: remove_dataset(tx, mine.project, "birds")):
        with pytest.raises(Conflict, match=job_id), mine.world.db.begin() as tx:
            remove(tx)
    mine.world.pause(job_id)
    with pytest.raises(Conflict, match="paused"), mine.world.db.begin() as tx:
        remove_version(tx, mine.project, "birds", 1)
    mine.world.cancel(job_id)
    with mine.world.db.begin() as tx:
        remove_version(tx, mine.project, "birds", 1)
    with pytest.raises(NotFound):
        mine.version(1)
    validating = mine.add({"a": "one"})
    assert validating.number == 2, "a number is given once"
    with pytest.raises(Conflict, match=validating.job_id or ""), mine.world.db.begin() as tx:
        remove_dataset(tx, mine.project, "birds")


def test_files_are_added_one_by_one_and_committed(mine: Datasets, node: str) -> None:
    assert mine.put("train/a.png", "one").version == 1
    mine.put("train/b.png", "two")
    mine.put("train/a.png", "other")
    open_one = mine.version(1)
    assert (open_one.state, open_one.num_files, open_one.num_bytes) == (DatasetState.UPLOADING, 2, 8)
    assert mine.settle() == 0
    with mine.world.db.begin() as tx:
        version = commit_version(tx, mine.project, "birds", now=mine.world.now, max_queued=NO_LIMIT)
    assert (version.number, version.state) == (1, DatasetState.VALIDATING)
    mine.validate(node)
    with pytest.raises(Conflict, match="no version"), mine.world.db.begin() as tx:
        commit_version(tx, mine.project, "birds", now=mine.world.now, max_queued=NO_LIMIT)
    assert mine.put("c").version == 2, "a new file opens a new version"
    with mine.world.db.read() as tx:
        assert [file.path for file in list_files(tx, mine.project, "birds", 1).data] == ["train/a.png", "train/b.png"]
        assert get_file(tx, mine.project, "birds", "latest", "train/a.png").size == 5


@pytest.mark.parametrize(("first", "second"), [("A/x", "a/X"), ("a", "a/b"), ("straße", "STRASSE")])
def test_paths_that_are_one_on_some_disk_do_not_lie_together(mine: Datasets, first: str, second: str) -> None:
    mine.put(first)
    with pytest.raises(InvalidInput):
        mine.put(second)
    with pytest.raises(InvalidInput) as refused:
        mine.add({first: "1", second: "2"})
    assert refused.value.problems[0].pointer in ("/files/0/path", "/files/1/path")
    assert refused.value.problems[0].code == "duplicate"


def test_a_folder_over_a_file_is_found_when_it_is_committed(mine: Datasets) -> None:
    mine.put("a/b")
    mine.put("a")
    with pytest.raises(InvalidInput, match="folder"), mine.world.db.begin() as tx:
        commit_version(tx, mine.project, "birds", now=mine.world.now, max_queued=NO_LIMIT)
    assert mine.version(1).state is DatasetState.UPLOADING, "nothing is lost"


def test_names_are_unique_and_tasks_are_recipes(mine: Datasets) -> None:
    with pytest.raises(Conflict, match="already"):
        mine.create()
    with pytest.raises(InvalidInput) as refused:
        mine.create("fish", task="swimming")
    assert refused.value.problems[0].pointer == "/task"
    assert mine.create("fish", task="tabular").task == "tabular"


def test_lists_go_page_by_page(mine: Datasets, node: str) -> None:
    mine.create("fish")
    for content in ("1", "2", "3"):
        mine.ready(node, {name: content for name in "abcd"})
    with mine.world.db.read() as tx:
        page = list_datasets(tx, mine.project, limit=1)
        assert ([item.name for item in page.data], page.has_more) == (["fish"], True)
        assert [(item.name, item.latest) for item in list_datasets(tx, mine.project, after=page.last_id).data] == [("birds", 3)]
        versions = list_versions(tx, mine.project, "birds", limit=2)
        assert [item.number for item in versions.data] == [3, 2]
        assert [item.number for item in list_versions(tx, mine.project, "birds", after=versions.last_id).data] == [1]
        files = list_files(tx, mine.project, "birds", 1, limit=3)
        assert ([item.path for item in files.data], files.has_more) == (["a", "b", "c"], True)
        assert [item.path for item in list_files(tx, mine.project, "birds", 1, after=files.last_id).data] == ["d"]
        found = get_dataset(tx, mine.project, "birds")
        assert (found.latest, [item.number for item in found.versions]) == (3, [3, 2, 1])


def test_bytes_of_versions_are_kept_and_those_of_deleted_ones_go(
    mine: Datasets, node: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = FolderStore(tmp_path_factory.mktemp("bytes"), reserve=0.0)
    held, spare = store.put([b"one"]), store.put([b"spare"])
    mine.ready(node, {"a": "one"})
    mine.send(described("spare", "spare"))
    mine.world.pass_time(48 * 3600)
    later = mine.world.now
    real_later = later.replace(year=later.year + 5)  # objects have the real clock's times
    collect_orphans(mine.world.db, store, now=real_later)
    assert (store.has(held), store.has(spare)) == (True, False)
    with mine.world.db.begin() as tx:
        remove_version(tx, mine.project, "birds", 1)
    collect_orphans(mine.world.db, store, now=real_later)
    assert not store.has(held)
    with pytest.raises(InvalidInput, match="not been uploaded"), mine.world.db.begin() as tx:
        require_uploads(tx, mine.project, [described("a", "one")])


def test_a_full_queue_refuses_a_version_and_leaves_nothing(mine: Datasets, node: str) -> None:
    version = mine.ready(node, {"a": "one"})
    assert mine.world.job(version.job_id or "").state is JobState.SUCCEEDED
    mine.world.submit()
    mine.put("b")
    with pytest.raises(TooManyQueued), mine.world.db.begin() as tx:
        commit_version(tx, mine.project, "birds", now=mine.world.now, max_queued=1)
    assert mine.version(2).state is DatasetState.UPLOADING

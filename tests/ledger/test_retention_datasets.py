"""Which versions of datasets a project's policy removes, and which somebody needs; on both databases."""

from collections.abc import Callable

import pytest

from core.artifacts.artifacts import all_artifacts
from core.datasets.finding import find_version
from core.datasets.remove import remove_dataset
from core.errors import InvalidInput, NotFound, Removed
from tests.ledger.datasets import Datasets
from tests.ledger.packaged import delete, finish_well, register, trained
from tests.ledger.retaining import DAY, apply, keep, removed

READS = {"recipe": "image-classification"}


@pytest.fixture
def kept(mine: Datasets, node: str) -> Callable[[], list[int]]:
    """Three versions of which the policy keeps 10 days; the numbers of those that are there."""
    for content in "123":
        mine.ready(node, {"a": content})
    keep(mine.world, datasets_days=10)

    def numbers() -> list[int]:
        apply(mine.world)
        found = []
        for number in (1, 2, 3):
            try:
                found.append(mine.version(number).number)
            except Removed:
                continue
        return found

    return numbers


def test_unused_versions_go_and_the_newest_stays(mine: Datasets, kept: Callable[[], list[int]]) -> None:
    mine.world.pass_time(9 * DAY)
    assert kept() == [1, 2, 3]
    mine.world.pass_time(2 * DAY)
    assert kept() == [3]
    assert sorted((item.kind, item.subject, item.num_bytes) for item in removed(mine.world)) == [
        ("datasets", "birds@1", 1),
        ("datasets", "birds@2", 1),
    ]
    with mine.world.db.read() as tx, pytest.raises(Removed, match=r"birds@2 was removed on 2026-01-12 .* by datasets_days=10"):
        find_version(tx, mine.project, "birds", 2)
    with pytest.raises(InvalidInput, match=r"birds@1 was removed on .* by datasets_days=10"):
        mine.world.submit(dataset="birds@1", **READS)
    with mine.world.db.begin() as tx:
        remove_dataset(tx, mine.project, "birds")
    mine.world.pass_time(1)
    mine.create("birds")
    with mine.world.db.read() as tx, pytest.raises(NotFound):
        find_version(tx, mine.project, "birds", 2)


def test_a_version_that_is_read_is_kept_and_its_days_begin_when_that_ends(mine: Datasets, node: str, kept: Callable[[], list[int]]) -> None:
    world = mine.world
    job_id = world.submit(dataset="birds@1", **READS)
    world.pass_time(50 * DAY)
    assert kept() == [1, 3]
    world.cancel(job_id)
    world.pass_time(9 * DAY)
    assert kept() == [1, 3]
    world.pass_time(2 * DAY)
    assert kept() == [3]


def test_the_data_of_a_registered_model_is_kept_until_the_model_goes(mine: Datasets, kept: Callable[[], list[int]]) -> None:
    world = mine.world
    register(world, trained(world, dataset="birds@2", **READS))
    world.pass_time(50 * DAY)
    assert kept() == [2, 3]
    delete(world, 1)
    assert kept() == [3]


def test_the_profile_of_a_version_is_kept_as_long_as_the_version(mine: Datasets, node: str) -> None:
    world = mine.world
    keep(world, artifacts_days=1, datasets_days=50)
    for content in "12":
        mine.add({"a": content})
        held = world.run(node, (0,))
        finish_well(world, held, files={"profile.json": b"{}"}, metrics={"valid": 1.0})
        mine.settle()
    world.pass_time(30 * DAY)
    assert apply(world) == 0
    world.pass_time(30 * DAY)
    assert apply(world) == 1
    assert apply(world) == 1
    assert [item.kind for item in removed(world)] == ["artifacts", "datasets"]
    newest = mine.version(2)
    with world.db.read() as tx:
        assert newest.job_id is not None
        assert [item.path for item in all_artifacts(tx, mine.project, newest.job_id)] == ["profile.json"]

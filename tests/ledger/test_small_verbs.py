"""Remembered answers, elections and failpoints."""

from datetime import timedelta

import pytest

from core.access.projects import ensure_project
from core.elections import hold, resign
from core.errors import KeyReused, RequestInFlight
from core.failpoints import PLACES, FailpointReached, arm, hit
from core.idempotency import Stored, recall, remember
from core.jobs.prune import prune_idempotency
from tests.ledger.world import World

KEY = {"method": "POST", "path": "/v1/jobs", "key": "k-1", "body_sha256": "a" * 64}


def test_promise_15_the_answer_under_a_key_is_given_again(world: World) -> None:
    key = {"project_id": world.project, **KEY}
    with world.db.begin() as tx:
        assert recall(tx, **key) is None
        remember(tx, **key, status=201, body='{"id":"j"}', now=world.now)
    with world.db.begin() as tx:
        assert recall(tx, **key) == Stored(201, '{"id":"j"}')


def test_promise_15_another_body_under_the_key_is_refused(world: World) -> None:
    key = {"project_id": world.project, **KEY}
    with world.db.begin() as tx:
        remember(tx, **key, status=201, body="{}", now=world.now)
    with world.db.begin() as tx, pytest.raises(KeyReused):
        recall(tx, **{**key, "body_sha256": "b" * 64})


def test_a_key_belongs_to_its_project_and_path(world: World) -> None:
    with world.db.begin() as tx:
        stranger = ensure_project(tx, "strangers", world.now)
        remember(tx, project_id=world.project, **KEY, status=201, body="{}", now=world.now)
        assert recall(tx, project_id=stranger, **KEY) is None
        assert recall(tx, project_id=world.project, **{**KEY, "path": "/v1/keys"}) is None


def test_who_remembers_second_is_told_and_rolls_back(world: World) -> None:
    key = {"project_id": world.project, **KEY}
    with world.db.begin() as tx:
        remember(tx, **key, status=201, body="first", now=world.now)
    with pytest.raises(RequestInFlight), world.db.begin() as tx:
        remember(tx, **key, status=201, body="second", now=world.now)
    with world.db.read() as tx:
        assert recall(tx, **key) == Stored(201, "first")


def test_what_is_rolled_back_is_not_remembered(world: World) -> None:
    key = {"project_id": world.project, **KEY}

    def remember_and_fail() -> None:
        with world.db.begin() as tx:
            remember(tx, **key, status=201, body="{}", now=world.now)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        remember_and_fail()
    with world.db.read() as tx:
        assert recall(tx, **key) is None


def test_old_answers_are_pruned_and_young_ones_stay(world: World) -> None:
    with world.db.begin() as tx:
        remember(tx, project_id=world.project, **KEY, status=201, body="old", now=world.now - timedelta(hours=73))
        remember(tx, project_id=world.project, **{**KEY, "key": "young"}, status=201, body="{}", now=world.now)
        assert prune_idempotency(tx, world.now - timedelta(hours=72)) == 1
        assert recall(tx, project_id=world.project, **KEY) is None


def _hold(world: World, holder: str, ttl: float = 60) -> bool:
    with world.db.begin() as tx:
        return hold(tx, duty="sweep", holder=holder, ttl_seconds=ttl)


def test_one_process_at_a_time_holds_a_duty(world: World) -> None:
    assert _hold(world, "a")
    assert not _hold(world, "b")
    assert _hold(world, "a")


def test_a_duty_whose_holder_vanished_passes_on(world: World) -> None:
    assert _hold(world, "a", ttl=-1)
    assert _hold(world, "b")
    assert not _hold(world, "a")


def test_a_duty_that_was_resigned_is_free_at_once(world: World) -> None:
    assert _hold(world, "a")
    with world.db.begin() as tx:
        resign(tx, duty="sweep", holder="b")
    assert not _hold(world, "b")
    with world.db.begin() as tx:
        resign(tx, duty="sweep", holder="a")
    assert _hold(world, "b")


@pytest.fixture
def _disarmed() -> object:
    yield
    arm(None)


@pytest.mark.usefixtures("_disarmed")
def test_an_armed_place_fails_and_the_others_do_not() -> None:
    assert len(PLACES) == 12
    arm("finish.before_commit:raise")
    with pytest.raises(FailpointReached):
        hit("finish.before_commit")
    hit("finish.after_commit")
    arm("claim.after_commit:pause=0")
    hit("claim.after_commit")
    hit("finish.before_commit")
    arm(None)
    hit("claim.after_commit")


@pytest.mark.usefixtures("_disarmed")
@pytest.mark.parametrize(
    "setting", ["finish", "finish.sometime:kill", "finish.before_commit:explode", "finish.before_commit:pause=long", ""]
)
def test_a_setting_that_means_nothing_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=r"failpoint|float"):
        arm(setting)


def test_a_place_that_cannot_be_armed_is_a_mistake_in_the_code() -> None:
    with pytest.raises(KeyError):
        hit("finish.someday")

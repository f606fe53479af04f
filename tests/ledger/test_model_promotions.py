"""Promotions with a check, by recorded metrics and by jobs that score both versions, on both databases."""

import pytest

from core.db.engine import Database
from core.errors import Conflict, InvalidInput, TooManyQueued
from core.models.delete import delete_version
from core.models.promote import promote
from core.models.promotions import get_promotion, list_promotions
from core.models.queries import get_model, list_model_events
from core.models.settle import settle_models
from core.spec import NamedModel
from core.states import Reason
from core.wire.models import PromoteRequest, Promotion, UnlessWorse
from tests.ledger.packaged import KEY, finish_well, versioned
from tests.ledger.world import World

BUILTIN = '"dataset": {"builtin": "digits"}'


@pytest.fixture(autouse=True)
def scored_by_the_drill(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scoring jobs are of the drill's recipe here, whose spec has the same frame: what they answer is told by each test."""
    monkeypatch.setattr("core.models.promote.EVALUATION", "scripted")


@pytest.fixture
def two(world: World) -> World:
    """Version 1 is in production with accuracy 0.9 and loss 0.30; version 2 has 0.8 and 0.25."""
    versioned(world, metrics={"test_accuracy": 0.9, "accuracy": 0.5, "test_loss": 0.3, "odd": 1.0})
    versioned(world, metrics={"test_accuracy": 0.8, "accuracy": 1.0, "test_loss": 0.25, "odd": 2.0}, seed=1)
    assert ask(world, 1).outcome == "promoted"
    return world


def ask(world: World, version: int | str, check: str | None = None, *, max_queued: int = 10) -> Promotion:
    unless_worse = None if check is None else UnlessWorse.model_validate_json(check)
    request = PromoteRequest(version=version, unless_worse=unless_worse)
    with world.db.begin() as tx:
        return promote(tx, world.project, "digits", "production", request, key_id=KEY, now=world.now, max_queued=max_queued)


def in_production(world: World) -> int | None:
    with world.db.read() as tx:
        return get_model(tx, world.project, "digits").aliases.get("production")


def newest_event(world: World) -> str:
    with world.db.read() as tx:
        return list_model_events(tx, world.project, "digits")[-1].type


def look(world: World, promotion: Promotion) -> Promotion:
    assert promotion.id is not None
    with world.db.read() as tx:
        return get_promotion(tx, world.project, "digits", promotion.id)


def answer_jobs(world: World, promotion: Promotion, *, candidate: float, current: float, metric: str = "accuracy") -> None:
    """Both jobs end with their scores, in whatever order they are claimed."""
    assert promotion.check is not None
    scores = {promotion.check.candidate_job_id: candidate, promotion.check.current_job_id: current}
    node = world.node("scorer")
    for number in range(2):
        assert number == 0 or look(world, promotion).outcome == "pending"
        held = world.run(node)
        finish_well(world, held, files={}, metrics={metric: scores[held.job_id]})


@pytest.mark.parametrize("metric", ["accuracy", "test.accuracy", "test_accuracy"])
def test_a_worse_version_is_refused_with_both_numbers(two: World, metric: str) -> None:
    refused = ask(two, 2, f'{{"metric": "{metric}"}}')
    assert refused.outcome == "refused"
    assert "0.8 in version 2" in refused.message
    assert "0.9 in version 1" in refused.message
    assert (in_production(two), newest_event(two)) == (1, "promotion.refused")


@pytest.mark.parametrize(
    "check",
    [
        '{"metric": "test_accuracy", "tolerance": 0.11}',
        '{"metric": "loss"}',
        '{"metric": "odd", "higher_is_better": true}',
    ],
)
def test_a_version_that_is_no_worse_is_promoted(two: World, check: str) -> None:
    promoted = ask(two, "latest", check)
    assert (promoted.outcome, promoted.previous_version, promoted.version) == ("promoted", 1, 2)
    assert promoted.check is not None
    assert promoted.check.candidate is not None
    assert (in_production(two), newest_event(two)) == (2, "alias.moved")


def test_the_other_way_round_loss_is_worse_when_higher(two: World) -> None:
    assert ask(two, 2).outcome == "promoted"
    assert ask(two, 1, '{"metric": "loss"}').outcome == "refused"
    assert ask(two, 1, '{"metric": "odd", "higher_is_better": false}').outcome == "promoted"


@pytest.mark.parametrize(
    ("check", "pointer"),
    [
        ('{"metric": "wer"}', "/unless_worse/metric"),
        ('{"metric": "validation.accuracy"}', "/unless_worse/metric"),
        ('{"metric": "odd"}', "/unless_worse/higher_is_better"),
    ],
)
def test_a_check_that_cannot_be_made_says_where(two: World, check: str, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        ask(two, 2, check)
    assert [item.pointer for item in refused.value.problems] == [pointer]
    assert in_production(two) == 1


def test_the_first_version_of_an_alias_and_the_present_one_need_no_check(world: World) -> None:
    versioned(world)
    assert ask(world, 1, '{"metric": "accuracy"}').outcome == "promoted"
    assert ask(world, 1, '{"metric": "accuracy"}').outcome == "promoted"


def test_with_a_dataset_both_versions_are_scored_before_the_alias_moves(two: World) -> None:
    pending = ask(two, 2, f'{{"metric": "test.accuracy", {BUILTIN}}}')
    assert (pending.outcome, in_production(two), newest_event(two)) == ("pending", 1, "promotion.pending")
    assert pending.check is not None
    specs = [two.job(str(job)).spec for job in (pending.check.candidate_job_id, pending.check.current_job_id)]
    assert [spec.base_model for spec in specs] == [NamedModel(name="digits", version=2), NamedModel(name="digits", version=1)]
    answer_jobs(two, pending, candidate=0.95, current=0.94)
    ended = look(two, pending)
    assert (ended.outcome, in_production(two), newest_event(two)) == ("promoted", 2, "alias.moved")
    assert ended.check is not None
    assert (ended.check.candidate, ended.check.current) == (0.95, 0.94)
    with two.db.read() as tx:
        assert list_promotions(tx, two.project, "digits").data == [ended]


def test_a_version_that_scores_worse_stays_out(two: World) -> None:
    pending = ask(two, 2, f'{{"metric": "accuracy", "tolerance": 0.01, {BUILTIN}}}')
    answer_jobs(two, pending, candidate=0.90, current=0.92)
    ended = look(two, pending)
    assert (ended.outcome, in_production(two), newest_event(two)) == ("refused", 1, "promotion.refused")
    assert "0.9 in version 2" in ended.message
    assert "0.92 in version 1" in ended.message


def test_a_job_that_fails_fails_the_promotion(two: World) -> None:
    pending = ask(two, 2, f'{{"metric": "accuracy", {BUILTIN}}}')
    finish_well(two, two.run(two.node()), files={}, metrics={"accuracy": 1.0})
    held = two.run(two.node())
    two.finish(held, Reason.INVALID_DATA, message="no such column")
    with two.db.begin() as tx:
        settle_models(tx, two.now)
    ended = look(two, pending)
    assert (ended.outcome, in_production(two)) == ("failed", 1)
    assert held.job_id in ended.message


def test_a_cancelled_job_and_a_score_of_another_name_fail_it_too(two: World) -> None:
    pending = ask(two, 2, f'{{"metric": "accuracy", {BUILTIN}}}')
    assert pending.check is not None
    for job in (pending.check.candidate_job_id, pending.check.current_job_id):
        two.cancel(str(job))
    other = ask(two, 2, f'{{"metric": "accuracy", {BUILTIN}}}')
    answer_jobs(two, other, candidate=1.0, current=1.0, metric="f1")
    with two.db.begin() as tx:
        settle_models(tx, two.now)
    assert [look(two, item).outcome for item in (pending, other)] == ["failed", "failed"]
    assert "accuracy" in look(two, other).message


def test_an_alias_that_was_moved_meanwhile_is_not_moved_again(two: World) -> None:
    versioned(two, seed=2)
    pending = ask(two, 2, f'{{"metric": "accuracy", {BUILTIN}}}')
    assert ask(two, 3).outcome == "promoted"
    answer_jobs(two, pending, candidate=1.0, current=0.1)
    assert (look(two, pending).outcome, in_production(two)) == ("superseded", 3)


def test_versions_of_a_pending_promotion_are_not_deleted(two: World) -> None:
    ask(two, 2, f'{{"metric": "accuracy", {BUILTIN}}}')
    with two.db.begin() as tx, pytest.raises(Conflict):
        delete_version(tx, two.project, "digits", 2, key_id=KEY, now=two.now)


def test_a_full_queue_leaves_no_half_promotion(two: World) -> None:
    with pytest.raises(TooManyQueued):
        ask(two, 2, f'{{"metric": "accuracy", {BUILTIN}}}', max_queued=1)
    with two.db.read() as tx:
        assert list_promotions(tx, two.project, "digits").data == []
    assert pending_jobs(two.db) == 0


def pending_jobs(db: Database) -> int:
    with db.read() as tx:
        return tx.exec_driver_sql("SELECT count(*) FROM jobs WHERE state = 'queued'").scalar_one()


def test_problems_of_the_scoring_jobs_are_told_at_their_place(two: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.models.promote.EVALUATION", "nothing-that-there-is")
    with pytest.raises(InvalidInput) as refused:
        ask(two, 2, f'{{"metric": "accuracy", {BUILTIN}}}')
    assert refused.value.problems
    assert all(item.pointer.startswith("/unless_worse") for item in refused.value.problems)

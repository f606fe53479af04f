"""Jobs that are submitted while their data is still validated or prepared: they wait, and never for ever."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete

from core.datasets.prepare import prepare_version
from core.datasets.remove import remove_version
from core.datasets.validation import validation_spec
from core.db.dataset_tables import dataset_files, dataset_versions
from core.errors import Conflict
from core.jobs.queries import has_claimable, job_version, list_jobs
from core.jobs.submit import submit, what_is_meant
from core.jobs.waiting import waiting_for
from core.recipes import parse_spec
from core.states import DatasetState, JobState, Reason
from core.wire.datasets import DatasetVersion, PrepareRequest
from core.wire.worker import Claim
from tests.ledger.datasets import NO_LIMIT, Datasets
from tests.ledger.test_dataset_preparation import leave
from tests.ledger.test_races import at_once
from tests.ledger.world import World, assert_sound, spec_text

TRAIN: dict[str, Any] = {"recipe": "image-classification", "dataset": "birds@1"}
FILES = {"a/1.png": "one"}


def end_validation(mine: Datasets, node: str, *, valid: float, reason: Reason = Reason.COMPLETED) -> Claim:
    """The validation ends, and its version is settled in the same transaction as in the route."""
    held = mine.world.run(node, (0,))
    assert held.spec.recipe == "dataset-validation"
    mine.world.finish(held, reason, metrics={"valid": valid, "num_findings": 1 - valid}, message="row 7 is broken")
    mine.settle()
    return held


def prepare(mine: Datasets, version: int | str) -> DatasetVersion:
    request = PrepareRequest.model_validate({"steps": [{"do": "drop_duplicates"}], "version": version})
    with mine.world.db.begin() as tx:
        return prepare_version(tx, mine.project, "birds", request, now=mine.world.now, max_queued=NO_LIMIT)


def test_a_job_waits_for_the_validation_of_its_data_and_then_runs(mine: Datasets, node: str) -> None:
    version = mine.add(FILES)
    job_id = mine.world.submit(**TRAIN)
    waits = mine.world.job(job_id).waiting_for
    assert waits == f"the dataset birds@1, which {version.job_id} validates"
    with mine.world.db.read() as tx:
        assert [job.waiting_for for job in list_jobs(tx, mine.project).data if job.id == job_id] == [waits]
        before = job_version(tx, mine.project, job_id)
    validation = mine.world.run(node, (0,))
    assert validation.job_id == version.job_id
    assert mine.world.try_claim(node, (1,)) is None, "its data is not ready"
    with mine.world.db.read() as tx:
        assert not has_claimable(tx), "nobody need ring for it"
    mine.world.finish(validation, Reason.COMPLETED, metrics={"valid": 1.0})
    mine.settle()
    with mine.world.db.read() as tx:
        assert has_claimable(tx)
        assert job_version(tx, mine.project, job_id) != before, "whoever has seen it wait hears of the change"
    assert mine.world.job(job_id).waiting_for == "a worker to take it: there are free devices"
    held = mine.world.run(node)
    assert held.job_id == job_id
    assert [file.path for file in held.datasets["training"].files] == ["a/1.png"]
    assert_sound(mine.world)


def test_a_job_that_waits_holds_up_nobody_behind_it(mine: Datasets, node: str) -> None:
    mine.add(FILES)
    mine.world.submit(**TRAIN, priority=100)
    mine.world.run(node, (0,))
    other = mine.world.submit()
    assert mine.world.claim(node, (1,)).job_id == other


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (Reason.COMPLETED, "the dataset birds@1 is invalid: 1 finding, see the profile"),
        (Reason.INVALID_DATA, "the dataset birds@1 is invalid: its validation failed: row 7 is broken"),
    ],
)
def test_jobs_that_wait_for_what_is_invalid_fail_and_say_why(mine: Datasets, node: str, reason: Reason, message: str) -> None:
    mine.add(FILES)
    waiting = [mine.world.submit(**TRAIN, retry={"max_retries": 3, "on": ["invalid_data"]}) for _ in range(3)]
    bystander = mine.world.submit()
    end_validation(mine, node, valid=0.0, reason=reason)
    for job_id in waiting:
        job = mine.world.job(job_id)
        assert (job.state, job.reason, job.num_attempts) == (JobState.FAILED, Reason.INVALID_DATA, 0)
        assert job.failure is not None
        assert (job.failure.reason, job.failure.message) == (Reason.INVALID_DATA, message)
        assert mine.world.events(job_id)[-1].message == f"the job failed before it ran: {message}"
    assert mine.world.job(bystander).state == JobState.QUEUED
    versions = [mine.world.columns(job_id).version for job_id in waiting]
    mine.settle()
    assert [mine.world.columns(job_id).version for job_id in waiting] == versions, "settling again changes nothing"
    assert_sound(mine.world)


def test_jobs_fail_when_the_validation_is_cancelled(mine: Datasets) -> None:
    version = mine.add(FILES)
    job_id = mine.world.submit(**TRAIN)
    assert version.job_id is not None
    mine.world.cancel(version.job_id)
    mine.settle()
    failure = mine.world.job(job_id).failure
    assert failure is not None
    assert failure.message == "the dataset birds@1 is invalid: its validation was cancelled"


def test_jobs_fail_when_their_version_is_gone(mine: Datasets) -> None:
    """It is not deleted while a job needs it, so this takes a hand in the ledger; no job waits for ever all the same."""
    mine.add(FILES)
    job_id = mine.world.submit(**TRAIN)
    with pytest.raises(Conflict, match="needs this version"), mine.world.db.begin() as tx:
        remove_version(tx, mine.project, "birds", 1)
    with mine.world.db.begin() as tx:
        tx.execute(delete(dataset_files))
        tx.execute(delete(dataset_versions))
    assert mine.settle() == 0
    job = mine.world.job(job_id)
    assert job.state == JobState.FAILED
    assert job.failure is not None
    assert "'training'" in job.failure.message


def test_a_job_that_waits_is_cancelled_and_paused_like_any_other(mine: Datasets, node: str) -> None:
    mine.add(FILES)
    cancelled, paused, late = (mine.world.submit(**TRAIN) for _ in range(3))
    assert mine.world.cancel(cancelled).state == JobState.CANCELLED
    for job_id in (paused, late):
        assert mine.world.pause(job_id).state == JobState.PAUSED
    assert mine.world.resume(paused).state == JobState.QUEUED
    end_validation(mine, node, valid=0.0)
    assert [mine.world.job(job_id).state for job_id in (cancelled, paused, late)] == ["cancelled", "failed", "paused"]
    assert mine.world.resume(late).state == JobState.FAILED, "what it would wait for never comes"
    assert_sound(mine.world)


def test_latest_is_what_comes_while_nothing_is_ready(mine: Datasets, node: str) -> None:
    mine.add(FILES)
    first = mine.world.submit(recipe="image-classification", dataset="birds")
    assert '"version":1' in mine.world.columns(first).spec
    end_validation(mine, node, valid=1.0)
    mine.add({"b": "two"})
    second = mine.world.submit(recipe="image-classification", dataset="birds@latest")
    assert '"version":1' in mine.world.columns(second).spec, "a version that is ready comes first"


def test_a_job_waits_through_a_preparation_and_its_validation(mine: Datasets, node: str) -> None:
    mine.add(FILES)
    made = prepare(mine, "latest")
    job_id = mine.world.submit(**{**TRAIN, "dataset": f"birds@{made.number}"})
    assert made.lineage is not None
    assert made.job_id is not None
    assert "birds@1, which" in str(mine.world.job(made.job_id).waiting_for)
    assert mine.world.job(job_id).waiting_for == f"the dataset birds@2, which {made.job_id} prepares"
    end_validation(mine, node, valid=1.0)
    leave(mine, node, "data/train.csv")
    validating = mine.version(2)
    assert mine.world.job(job_id).waiting_for == f"the dataset birds@2, which {validating.job_id} validates"
    end_validation(mine, node, valid=1.0)
    held = mine.world.claim(node)
    assert held.job_id == job_id
    assert [file.path for file in held.datasets["training"].files] == ["train.csv"]


def test_a_chain_of_preparations_ends_with_its_first_link(mine: Datasets, node: str) -> None:
    mine.ready(node, FILES)
    second = prepare(mine, 1)
    third = prepare(mine, second.number)
    assert third.lineage is not None
    assert third.lineage.digest is None, "the files of its source are not made yet"
    job_id = mine.world.submit(**{**TRAIN, "dataset": "birds@3"})
    assert second.job_id is not None
    mine.world.cancel(second.job_id)
    mine.settle()
    assert [mine.version(number).state for number in (2, 3)] == [DatasetState.INVALID] * 2
    failure = mine.world.job(job_id).failure
    assert failure is not None
    assert "birds@3 is invalid: its preparation failed: the dataset birds@2 is invalid" in failure.message
    assert_sound(mine.world)


def test_a_preparation_goes_on_with_a_version_that_turns_out_invalid(mine: Datasets, node: str) -> None:
    """Its steps may mend what is wrong with the rows."""
    mine.add(FILES)
    second = prepare(mine, 1)
    training = mine.world.submit(**{**TRAIN, "dataset": "birds@1"})
    assert second.job_id is not None
    assert "birds@1, which" in str(mine.world.job(second.job_id).waiting_for)
    end_validation(mine, node, valid=0.0)
    assert mine.world.job(training).state == JobState.FAILED
    assert mine.version(2).state == DatasetState.UPLOADING
    assert mine.world.run(node, (0,)).job_id == second.job_id


def test_a_prepared_version_learns_the_digest_of_a_source_that_was_made_later(mine: Datasets, node: str) -> None:
    mine.ready(node, FILES)
    prepare(mine, 1)
    prepare(mine, 2)
    leave(mine, node, "data/train.csv")
    end_validation(mine, node, valid=1.0)
    leave(mine, node, "data/train.csv", "data/test.csv")
    lineage = mine.version(3).lineage
    assert lineage is not None
    assert lineage.digest == mine.version(2).digest is not None


def test_validating_again_does_not_wait_for_itself(mine: Datasets, node: str) -> None:
    mine.add(FILES)
    with mine.world.db.begin() as tx:
        spec = validation_spec("birds", 1, None)
        again = submit(tx, project_id=mine.project, spec=spec, now=mine.world.now, max_queued=NO_LIMIT)
    assert "worker" in str(mine.world.job(again).waiting_for)
    mine.world.run(node, (0,))
    assert mine.world.claim(node, (1,)).job_id == again


def test_a_dry_run_tells_that_the_job_would_wait(mine: Datasets) -> None:
    version = mine.add(FILES)
    with mine.world.db.read() as tx:
        meant = what_is_meant(tx, mine.project, parse_spec(spec_text(**TRAIN)), lock=False)
        assert waiting_for(tx, meant.spec, meant.reads.values()) == f"the dataset birds@1, which {version.job_id} validates"


def test_submissions_race_the_verdict_and_none_is_left_waiting(world: World, mine: Datasets, node: str) -> None:
    for trial in range(10):
        valid = float(trial % 2)
        number = mine.add({"a": f"trial {trial}"}).number
        held = world.run(node, (0,))
        spec = {**TRAIN, "dataset": f"birds@{number}"}
        answers = at_once(*[partial(world.submit, **spec)] * 3, partial(_judge, mine, held, valid))
        mine.settle()  # a version that a submission held locked is left to the next pass
        job_ids = [answer for answer in answers[:3] if isinstance(answer, str)]
        assert not valid or len(job_ids) == 3, answers
        states = {world.job(job_id).state for job_id in job_ids}
        assert states <= {JobState.QUEUED if valid else JobState.FAILED}, answers
        for job_id in job_ids:
            if valid:
                world.cancel(job_id)
    assert_sound(world)


def test_two_workers_race_for_a_job_whose_data_becomes_ready(world: World, mine: Datasets, node: str) -> None:
    others = [world.node(f"other-{place}") for place in range(2)]
    for trial in range(10):
        number = mine.add({"a": f"trial {trial}"}).number
        held = world.run(node, (0,))
        job_id = world.submit(**{**TRAIN, "dataset": f"birds@{number}"})
        answers = at_once(*(partial(world.try_claim, other) for other in others), partial(_judge, mine, held, 1.0))
        assert not [answer for answer in answers if isinstance(answer, Exception)], answers
        claims = [answer for answer in answers if isinstance(answer, Claim)]
        assert len(claims) <= 1
        claimed = claims[0] if claims else world.claim(others[0])
        assert (claimed.job_id, len(claimed.datasets["training"].files)) == (job_id, 1)
        world.finish(claimed, Reason.COMPLETED)
    assert_sound(world)


def _judge(mine: Datasets, held: Claim, valid: float) -> int:
    mine.world.finish(held, Reason.COMPLETED, metrics={"valid": valid})
    return mine.settle()

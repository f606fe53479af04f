"""Jobs that demand strict isolation: refused where nobody offers it, passed over by those who do not, and told so."""

import pytest

from core.errors import NotAvailable
from core.workers.queries import get_worker
from tests.ledger.world import World

STRICT = {"recipe": "script", "code": {"files": {"train.py": ""}}, "entrypoint": "train.py", "isolation": "strict"}


def test_without_any_worker_that_offers_it_the_job_is_refused(world: World) -> None:
    world.node(isolation="confined")
    with pytest.raises(NotAvailable) as refused:
        world.submit(**STRICT)
    assert [problem.pointer for problem in refused.value.problems] == ["/isolation"]


def test_only_a_strict_worker_is_given_it(world: World) -> None:
    plain, strict = world.node("plain", isolation="confined"), world.node("strict", isolation="strict")
    job_id = world.submit(**STRICT)
    behind = world.submit()
    assert world.claim(plain, (0,)).job_id == behind, "a job that does not fit holds up none behind it"
    assert world.try_claim(plain, (1,)) is None
    assert world.claim(strict, (0,)).job_id == job_id


def test_it_is_told_what_it_waits_for(world: World) -> None:
    world.node("strict", isolation="strict")
    job_id = world.submit(**STRICT)
    world.pass_time(2_000_000)
    world.node("plain", isolation="confined")
    assert world.job(job_id).waiting_for == "a worker with strict isolation: none is online"


def test_a_worker_that_registers_again_shows_what_it_offers_now(world: World) -> None:
    worker = world.node(isolation="strict")
    world.node(isolation="limits")
    with world.db.read() as tx:
        assert get_worker(tx, world.project, worker).isolation.level == "limits"

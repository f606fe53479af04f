"""Looking for work against a real server: what is locked is claimed, what is granted is handed on, nothing twice."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.settings import WorkerSettings
from core.wire.keys import Scope
from tests.api.serving import Served, serving
from tests.bed.proxy import Proxy
from worker.api_client import NodeApi
from worker.cache_pruning import CacheLimits
from worker.confinement.offer import Offer
from worker.devices import DeviceInventory, busy
from worker.job_finder import JobFinder
from worker.launcher import Launcher
from worker.node_dir import NodeDir
from worker.node_loop import NodeLoop
from worker.orders import NodeFacts, Orders

NUM_DEVICES = 3


class Keeps(Launcher):
    """Starts nothing: keeps the orders, and the locks as a supervisor would."""

    def __init__(self) -> None:
        super().__init__(None)
        self.orders: list[Orders] = []
        self.locks: list[int] = []
        self.fails = False

    def start_supervisor(self, claim_json: bytes, lock_fd: int) -> int:
        if self.fails:
            raise OSError("no more processes")
        self.orders.append(Orders.model_validate_json(claim_json))
        self.locks.append(os.dup(lock_fd))
        return os.getpid()

    def release(self) -> None:
        while self.locks:
            os.close(self.locks.pop())


class Site:
    """A node of three CPU slots that is known to a real server."""

    def __init__(self, served: Served, proxy: Proxy, root: Path) -> None:
        self.served = served
        self.proxy = proxy
        self.admin = served.client()
        self.dir = NodeDir.create(root)
        self.launcher = Keeps()
        inventory = DeviceInventory.of_cpu(NUM_DEVICES)
        key = served.key(Scope.WORKER)
        settings = WorkerSettings(api_url=f"http://127.0.0.1:{proxy.port}", worker_token=SecretStr(key), work_dir=root)
        self.api = NodeApi(settings.api_url, key)
        facts = NodeFacts.of(settings, device_kind="cpu", environ={}, offer=Offer())
        self.finder = JobFinder(self.api, self.launcher, self.dir, inventory, facts)
        self.loop = self.new_loop(inventory)

    def new_loop(self, inventory: DeviceInventory) -> NodeLoop:
        return NodeLoop(
            self.api,
            self.finder,
            self.dir,
            inventory,
            name="node-1",
            poll_seconds=5,
            keep_run_dirs=timedelta(hours=1),
            cache_limits=CacheLimits(max_bytes=1 << 30, max_age=timedelta(days=1)),
            offer=Offer(landlock=7),
            pad_answers=None,
        )

    def submit(self, num_devices: int) -> str:
        return self.admin.submit(resources={"devices_per_node": num_devices})

    def busy(self) -> set[int]:
        return busy(self.dir.device_locks, NUM_DEVICES)

    def worker(self) -> dict[str, object]:
        (worker,) = self.admin.get("/v1/workers").json()["data"]
        found: dict[str, object] = worker
        return found


@pytest.fixture
def site(sqlite_url: str, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        served = stack.enter_context(serving(sqlite_url, tmp_path, lease_ttl_seconds=120))
        proxy = stack.enter_context(Proxy(("127.0.0.1", int(served.url.rpartition(":")[2]))))
        site = Site(served, proxy, tmp_path / "node")
        yield site
        site.launcher.release()
        site.api.close()


def test_a_pass_registers_beats_and_claims_all_that_fits(site: Site) -> None:
    jobs = [site.submit(2), site.submit(2), site.submit(1)]
    site.loop.pass_once()
    assert [orders.claim.job_id for orders in site.launcher.orders] == [jobs[0], jobs[2]]
    assert [orders.claim.devices for orders in site.launcher.orders] == [(0, 1), (2,)]
    assert site.busy() == {0, 1, 2}
    assert (site.worker()["state"], site.worker()["name"]) == ("online", "node-1")


def test_what_was_not_granted_is_free_at_once(site: Site) -> None:
    site.submit(1)
    site.loop.pass_once()
    assert site.busy() == {0}


def test_promise_07_a_device_that_somebody_holds_is_never_offered(site: Site) -> None:
    site.submit(1)
    site.loop.pass_once()
    site.submit(3)
    assert site.finder.look() == 0
    site.launcher.release()
    assert site.finder.look() == 1


def test_an_empty_queue_leaves_no_lock_behind(site: Site) -> None:
    site.loop.pass_once()
    assert site.finder.look() == 0
    assert site.busy() == set()


def test_a_hundred_rings_start_one_job_once(site: Site) -> None:
    site.loop.pass_once()
    site.submit(1)
    threads = [threading.Thread(target=site.finder.look) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(site.launcher.orders) == 1


def test_a_ring_during_a_look_is_not_lost(site: Site) -> None:
    site.loop.pass_once()
    with site.proxy.under(latency_seconds=0.2):
        looking = threading.Thread(target=site.finder.look)
        looking.start()
        threading.Event().wait(0.05)
        job = site.submit(1)
        site.finder.look()
        looking.join(20)
    assert [orders.claim.job_id for orders in site.launcher.orders] == [job]


def test_promise_24_the_token_of_a_worker_is_in_no_orders(site: Site) -> None:
    site.submit(1)
    site.loop.pass_once()
    (orders,) = site.launcher.orders
    assert "ty_" not in orders.model_dump_json()
    assert orders.claim.lease_token.startswith("lease_")


def test_a_supervisor_that_cannot_be_started_costs_the_job_no_lease(site: Site) -> None:
    job = site.submit(1)
    site.launcher.fails = True
    site.loop.pass_once()
    attempts = site.admin.get(f"/v1/jobs/{job}/attempts").json()["data"]
    assert attempts
    assert {attempt["reason"] for attempt in attempts} == {"rank_died"}
    assert site.busy() == set()


def test_an_api_that_is_away_is_waited_for(site: Site) -> None:
    job = site.submit(1)
    with site.proxy.under(refuses=True):
        assert site.loop.pass_once() <= 1.0
        assert site.launcher.orders == []
    site.loop.pass_once()
    assert [orders.claim.job_id for orders in site.launcher.orders] == [job]


def test_a_node_that_the_ledger_does_not_know_registers_again(site: Site) -> None:
    site.loop.pass_once()
    site.finder.worker_id = "wrk_00000000000000000000000000"
    site.loop.pass_once()
    site.loop.pass_once()
    assert site.finder.worker_id == site.worker()["id"]


def test_a_draining_node_claims_nothing_until_it_may_again(site: Site) -> None:
    site.loop.pass_once()
    worker = site.worker()["id"]
    site.admin.post(f"/v1/workers/{worker}/drain")
    job = site.submit(1)
    site.loop.pass_once()
    assert site.launcher.orders == []
    site.admin.post(f"/v1/workers/{worker}/undrain")
    site.loop.pass_once()
    assert [orders.claim.job_id for orders in site.launcher.orders] == [job]


def test_a_leaving_node_tells_the_ledger_and_is_back_when_it_registers_again(site: Site) -> None:
    site.loop.pass_once()
    site.dir.leaving.touch()
    site.loop.pass_once()
    site.submit(1)
    assert site.finder.look() == 0
    assert site.worker()["state"] in ("draining", "drained")
    assert site.dir.leaving.read_text() != ""
    site.dir.leaving.unlink()
    site.finder.worker_id = None
    site.loop.pass_once()
    assert len(site.launcher.orders) == 1

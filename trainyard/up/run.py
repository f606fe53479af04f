"""The story of ``trainyard up``, from the first folder to the last process."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from core.wire.worker import Worker
from trainyard.client import Client
from trainyard.errors import CannotConnect, ServerError, Unauthenticated
from trainyard.retrying import RetryPolicy
from trainyard.settings import inherited_environment, own_variables, runtime_folder
from trainyard.up.errors import Stopped, ToolFailed, UpError
from trainyard.up.fleet import Fleet, Say
from trainyard.up.folder import StateFolder, locked, predecessors_gone
from trainyard.up.plan import Plan, UpOptions, check_installed, choose_port, make_plan
from trainyard.up.process import Command, adopt_orphans, run_tool
from trainyard.up.redis import answers, find_redis
from trainyard.up.signals import Signals

REDIS_SECONDS = 20.0
API_SECONDS = 60.0
NODE_SECONDS = 120.0
PATIENCE = {"node": 90.0, "api": 15.0, "redis": 10.0}


def run_up(options: UpOptions, say: Say, on_ready: Callable[[StateFolder, str], None]) -> None:
    """Runs the service until a signal asks for its end. Raises UpError when it cannot be started.

    ``on_ready`` is called with the state folder and the address once a worker is online. Call it from the main thread.
    """
    check_installed()
    folder = StateFolder(options.home)
    folder.prepare()
    with locked(folder), Signals() as signals, predecessors_gone(folder) as kept_by_children:
        adopt_orphans()
        plan = _plan(options, folder)
        fleet = Fleet(signals, say, kept_by_children)
        try:
            _start(plan, fleet, say)
            folder.ready.write_text(str(os.getpid()))
            on_ready(folder, plan.url)
            fleet.tend()
        except Stopped:
            pass  # while it started; what is there is stopped below
        finally:
            folder.ready.unlink(missing_ok=True)
            fleet.stop(patience=PATIENCE)


def _plan(options: UpOptions, folder: StateFolder) -> Plan:
    settled = replace(options, port=choose_port(options.host, options.port))
    return make_plan(
        settled,
        folder,
        redis_binary=find_redis(),
        runtime=runtime_folder(),
        inherited=inherited_environment(),
        settings=own_variables(),
    )


def _start(plan: Plan, fleet: Fleet, say: Say) -> None:
    _start_redis(plan, fleet, say)
    if not plan.folder.has_keys:
        _run(plan.migrate(), "the ledger's tables could not be made")
    admin = _key(plan, plan.folder.admin_key, "first", "admin")
    plan.folder.write_secret(plan.folder.admin_header, f"Authorization: Bearer {admin}\n")
    token = _key(plan, plan.folder.worker_key, "node", "worker")
    api = fleet.start(plan.api())  # migrates what an older version has left
    begun_at = datetime.now(UTC)
    node = fleet.start(plan.node(token), may_outlive=True)
    fleet.wait_until(lambda: _is_serving(plan.url), api, within=API_SECONDS)
    plan.folder.write_connection(plan.url)
    say("api", f"serves {plan.url}")
    with Client(plan.url, admin, timeout=5, retry=RetryPolicy(max_tries=1)) as client:
        # A node that a killed parent left behind needs a while to give its jobs back, and has the work directory until then.
        fleet.wait_until(lambda: bool(_online(client, begun_at)), node, within=NODE_SECONDS, patient=True)
        say("node", _describe(_online(client, begun_at)))


def _start_redis(plan: Plan, fleet: Fleet, say: Say) -> None:
    if plan.redis is None:
        if "TRAINYARD_BROKER_URL" not in plan.api_variables:
            say("redis", "no redis-server found: jobs start up to 5 s later. pip install 'trainyard[embedded]' brings one")
        return
    redis = fleet.start(plan.redis)
    fleet.wait_until(lambda: answers(plan.redis_socket), redis, within=REDIS_SECONDS)
    say("redis", f"listens on {plan.redis_socket}")


def _run(command: Command, failure: str) -> str:
    try:
        return run_tool(command)
    except ToolFailed as error:
        raise UpError(f"{failure}: {error}") from None


def _key(plan: Plan, path: Path, name: str, scopes: str) -> str:
    """The key of an earlier run, else a new one. It reaches the file through a pipe, never through an argument."""
    if path.exists():
        return path.read_text().strip()
    key = _run(plan.create_key(name, scopes), "the first API keys could not be made").strip()
    plan.folder.write_secret(path, key + "\n")
    return key


def _is_serving(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def _online(client: Client, since: datetime) -> list[Worker]:
    try:
        return [worker for worker in client.workers() if worker.state == "online" and worker.last_seen_at >= since]
    except (CannotConnect, ServerError):
        return []
    except Unauthenticated:
        raise UpError(
            "the ledger does not know the key in the state folder's keys/admin; is this another database? "
            "Remove the folder keys/ there and start again: new keys are made"
        ) from None


def _describe(workers: list[Worker]) -> str:
    worker = workers[0]
    kind = "CPU slots" if worker.accelerator == "cpu" else "GPUs"
    return f"{worker.name} is online with {len(worker.devices)} {kind}"

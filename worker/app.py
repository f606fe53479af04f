"""The Celery worker of a node: hears the doorbell, and has the node's own thread beside it.

``celery -A worker.app worker`` (or ``python -m worker``, which also runs the launch pad). A message carries no job and may be
lost: the thread polls.
"""

import logging
import signal
import sys
from datetime import timedelta
from functools import cache
from pathlib import Path
from socket import gethostname
from typing import Any

from celery import Celery, signals
from kombu import Exchange  # type: ignore[attr-defined]  # exported lazily, which mypy does not see
from kombu.common import Broadcast

from core.logs import configure_logs
from core.settings import WorkerSettings, forget_our_environment
from worker.api_client import NodeApi
from worker.cache_pruning import CacheLimits
from worker.confinement.accounts import let_through
from worker.confinement.offer import Offer
from worker.devices import DeviceInventory
from worker.job_finder import JobFinder
from worker.launch_plan import packages
from worker.launcher import Launcher, run_tool
from worker.node_dir import NodeDir
from worker.node_loop import NodeLoop
from worker.orders import NodeFacts
from worker.pad_door import PadUnavailable, Request, ask
from worker.processes import hide_memory
from worker.tasks import register_tasks

log = logging.getLogger("trainyard.worker.app")

DOORBELL = Exchange("trainyard.doorbell", type="fanout")  # type: ignore[no-untyped-call]
SOCKET_SECONDS = 5.0
PING_SECONDS = 2.0
STOP_SECONDS = 30.0
TRIAL_SECONDS = 60.0


def make_celery(settings: WorkerSettings, finder: JobFinder) -> Celery:
    """The Celery application: JSON only, no results, acknowledged early, nothing fetched ahead."""
    # Without a broker nothing ever rings, and the poll finds the jobs.
    broker = settings.broker_url.get_secret_value() if settings.broker_url else "memory://"
    celery = Celery("trainyard", broker=broker, set_as_current=False)
    celery.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=False,
        task_queues=[Broadcast(DOORBELL.name, exchange=DOORBELL)],  # type: ignore[no-untyped-call]
        task_create_missing_queues=False,
        task_default_queue=DOORBELL.name,
        worker_pool="threads",
        worker_concurrency=2,  # one looks, another finds that somebody looks
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_timeout=SOCKET_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": SOCKET_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": 25,
            # Celery gives every queue a routing key, which Redis would make a part of the topic; the bell is rung without one.
            "fanout_patterns": False,
        },
    )
    register_tasks(celery, finder)
    return celery


class Node:
    """The parts of a node's Celery process; nothing runs before ``run_beside``."""

    def __init__(self, settings: WorkerSettings, environ: dict[str, str]) -> None:
        node_dir = NodeDir.create(settings.work_dir)
        inventory = DeviceInventory.discover(settings.accelerator, settings.cpu_slots)
        api = NodeApi(settings.api_url, settings.worker_token.get_secret_value())
        is_warm = settings.launch == "warm"
        offer = offer_of(settings, node_dir)
        facts = NodeFacts.of(settings, device_kind=inventory.kind, environ=environ, offer=offer)
        self.finder = JobFinder(api, Launcher(node_dir.pad_socket if is_warm else None), node_dir, inventory, facts)
        self.loop = NodeLoop(
            api,
            self.finder,
            node_dir,
            inventory,
            name=settings.node_name or gethostname(),
            poll_seconds=settings.poll_seconds,
            keep_run_dirs=timedelta(hours=settings.keep_run_dirs_hours),
            cache_limits=CacheLimits(max_bytes=settings.cache_max_bytes, max_age=timedelta(days=settings.keep_cache_days)),
            offer=offer,
            pad_answers=(lambda: answers(node_dir.pad_socket)) if is_warm else None,
        )

    def run_beside(self) -> None:
        """Has the thread start with the Celery worker of this process, before it has found its broker, and end with it."""
        signals.setup_logging.connect(_leave_logging_alone, weak=False)
        signals.worker_init.connect(self._start, weak=False)
        signals.worker_shutdown.connect(self._stop, weak=False)

    def _start(self, **_: Any) -> None:
        # The parent's way to say that the node is to be drained: see NodeDir.leaving.
        signal.signal(signal.SIGUSR2, lambda *_: self.loop.nudge())
        self.loop.start()

    def _stop(self, **_: Any) -> None:
        self.loop.stop(STOP_SECONDS)


def offer_of(settings: WorkerSettings, node_dir: NodeDir) -> Offer:
    """What this node can put around scripts; tried out by a process of its own."""
    let_through(node_dir.root)
    needed = (Path(sys.executable), Path(sys.prefix), Path(sys.base_prefix), *packages(), node_dir.root)
    argv = (sys.executable, "-m", "worker.confinement.offer", str(settings.script_user), str(node_dir.root), *map(str, needed))
    said = run_tool(argv, TRIAL_SECONDS)
    if said.returncode:
        log.error("the walls around scripts could not be tried out", extra={"event": "isolation.unknown", "cause": said.stderr[-2000:]})
        return Offer(lacks=("they could not be tried out; see the worker's log",))
    offer = Offer.from_json(said.stdout)
    log.info("walls around scripts", extra={"event": "isolation.found", "level": offer.level, "lacks": "; ".join(offer.lacks)})
    return offer


def answers(door: Path) -> bool:
    """Whether the launch pad is there and willing."""
    try:
        ask(door, Request("ping"), timeout=PING_SECONDS)
    except PadUnavailable:
        return False
    return True


def _leave_logging_alone(**_: Any) -> None:
    """Celery sets logging up itself unless somebody else is connected to its signal."""


@cache
def node_application() -> Celery:
    """This process becomes a node: its settings come from the environment, and go from it."""
    settings = WorkerSettings.from_environment()
    environ = forget_our_environment()
    hide_memory()
    configure_logs(settings.log_level)
    node = Node(settings, environ)
    node.run_beside()
    return make_celery(settings, node.finder)


def __getattr__(name: str) -> Celery:
    """``celery -A worker.app`` asks for ``app``; an import alone reads no environment and starts nothing."""
    if name == "app":
        return node_application()
    raise AttributeError(name)

"""The workers as they are now, and what a queued job waits for among them, in words."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Connection, select, text

from core.db.clock import db_now
from core.db.tables import attempts, jobs, members, workers

_HELD = (
    select(members.c.worker_id, members.c.devices)
    .join_from(attempts, members, members.c.attempt_id == attempts.c.id)
    .where(text("attempts.state IN ('leased', 'running')"))  # the literal lets both databases use the partial index
    .subquery()
)
_ONLINE = (
    select(
        workers.c.id,
        workers.c.name,
        workers.c.accelerator,
        workers.c.num_devices,
        workers.c.isolation,
        workers.c.is_draining,
        _HELD.c.devices.label("held"),
        db_now().label("now"),
    )
    .outerjoin_from(workers, _HELD, _HELD.c.worker_id == workers.c.id)
    .where(workers.c.seen_until >= db_now())
    .order_by(workers.c.id)
)
# Of a job: what ``Need.of`` reads.
NEED_COLUMNS = (jobs.c.devices_per_node, jobs.c.accelerator, jobs.c.available_at, jobs.c.isolation)


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    accelerator: str
    num_devices: int
    num_free: int
    is_draining: bool
    isolation: str = "none"


@dataclass(frozen=True, slots=True)
class Need:
    """What a job must find before it can start."""

    devices_per_node: int
    accelerator: str
    available_at: datetime
    isolation: str = "any"

    @classmethod
    def of(cls, row: Any) -> Self:
        """``row`` has ``NEED_COLUMNS``."""
        return cls(row.devices_per_node, row.accelerator, row.available_at, row.isolation)

    @property
    def devices(self) -> str:
        kind = "" if self.accelerator == "auto" else f"{self.accelerator} "
        return f"{self.devices_per_node} {kind}device{'' if self.devices_per_node == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Fleet:
    now: datetime  # by the database's clock; without meaning when there are no nodes
    nodes: tuple[Node, ...]

    @classmethod
    def load(cls, tx: Connection) -> Self:
        """The workers that are online, by the database's clock."""
        nodes: dict[str, Node] = {}
        now = 0.0
        for row in tx.execute(_ONLINE):  # one row for each attempt that a node runs, one with a null for an idle node
            known = nodes.get(row.id)
            num_free = (known.num_free if known else row.num_devices) - len(row.held or ())
            nodes[row.id] = Node(row.name, row.accelerator, row.num_devices, max(num_free, 0), row.is_draining, row.isolation)
            now = row.now
        return cls(datetime.fromtimestamp(now, UTC), tuple(nodes.values()))

    def waiting_for(self, need: Need) -> str:
        """What a queued job with this need waits for, the most lasting obstacle first."""
        if not self.nodes:
            return "a worker: none is online"
        of_kind = [node for node in self.nodes if need.accelerator in ("auto", node.accelerator)]
        if not of_kind:
            return f"a worker with {need.accelerator} devices: none is online"
        walled = [node for node in of_kind if need.isolation in ("any", node.isolation)]
        if not walled:
            return f"a worker with {need.isolation} isolation: none is online"
        large = [node for node in walled if node.num_devices >= need.devices_per_node]
        if not large:
            return f"a worker with {need.devices}: the largest online has {max(node.num_devices for node in walled)}"
        open_nodes = [node for node in large if not node.is_draining]
        if not open_nodes:
            return f"a worker with {need.devices}: those that have them are draining"
        if need.available_at > self.now:
            return f"a retry at {need.available_at:%H:%M:%SZ}"
        if any(node.num_free >= need.devices_per_node for node in open_nodes):
            return "a worker to take it: there are free devices"
        best = max(open_nodes, key=lambda node: node.num_free)
        return f"{need.devices} to become free on {best.name}" + (f" ({best.num_free} free)" if best.num_free else "")

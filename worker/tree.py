"""A launched tree (keeper, agent, ranks) as its supervisor sees it: through one socket, whose closing ends the tree."""

import json
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from worker.keeper import KILL, MAX_MESSAGE, TERM
from worker.processes import descendants, kill_marked

SWEEP_SECONDS = 1.0
KILLED = -9


@dataclass(frozen=True, slots=True)
class TreeEvent:
    """``started`` carries the agent's pid, ``ended`` its return code; ``gone``: no process is left and the devices are free."""

    kind: Literal["started", "ended", "gone"]
    number: int | None = None


class Tree:
    """Not thread-safe. Closing it, or dying, kills whatever still runs."""

    def __init__(self, attempt_id: str, channel: socket.socket, *, launched: Literal["warm", "cold"], collect: Callable[[], None]) -> None:
        self.launched = launched
        self.agent_pid: int | None = None
        self.returncode: int | None = None
        self.is_gone = False
        self._attempt_id = attempt_id
        self._channel = channel
        self._collect = collect
        self._keeper_is_lost = False

    def fileno(self) -> int:
        """Readable when ``poll`` has something to tell."""
        return self._channel.fileno()

    def poll(self) -> TreeEvent | None:
        """The next event, or None at this moment. Says ``gone`` once, also when the keeper itself was killed."""
        if self.is_gone:
            return None
        if self._keeper_is_lost:
            return self._sweep()
        try:
            message = self._receive()
        except BlockingIOError:
            return None
        if not message:
            self._keeper_is_lost = True
            return self._sweep()
        return self._note(json.loads(message))

    def _receive(self) -> bytes:
        """The next message, empty when the keeper has closed its end. BlockingIOError when there is none yet."""
        try:
            return self._channel.recv(MAX_MESSAGE, socket.MSG_DONTWAIT)
        except ConnectionResetError:
            # The keeper left without reading our last word. Once told so, we may read what it said before.
            return self._channel.recv(MAX_MESSAGE, socket.MSG_DONTWAIT)

    def wait_gone(self, timeout: float) -> int | None:
        """The agent's return code (negative: killed by this signal) once nothing is left; None after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not self.is_gone:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            select.select([self], [], [], left)
            self.poll()
        return self.returncode

    def terminate(self) -> None:
        """Asks the ranks to stop; torchrun kills those that have not after the plan's ``shutdown_timeout``."""
        self._tell(TERM)

    def kill(self) -> None:
        """Kills every process of the tree; ``gone`` follows."""
        self._tell(KILL)

    def rank_pids(self) -> list[int]:
        """The agent's descendants: ranks and what they have started."""
        return descendants(self.agent_pid) if self.agent_pid is not None else []

    def close(self) -> None:
        """Lets go of the tree: what still runs is killed by its keeper."""
        self._channel.close()
        self._collect()

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note(self, message: dict[str, int]) -> TreeEvent:
        if "agent_pid" in message:
            self.agent_pid = message["agent_pid"]
            return TreeEvent("started", self.agent_pid)
        if "agent_exit" in message:
            self.returncode = message["agent_exit"]
            return TreeEvent("ended", self.returncode)
        return self._gone()

    def _sweep(self) -> TreeEvent | None:
        """Without a keeper the kernel kills agent and ranks with it; daemons that left them are found by their mark."""
        return self._gone() if kill_marked(self._attempt_id, SWEEP_SECONDS) else None

    def _gone(self) -> TreeEvent:
        self.is_gone = True
        if self.returncode is None:
            self.returncode = KILLED
        return TreeEvent("gone", self.returncode)

    def _tell(self, message: bytes) -> None:
        try:
            self._channel.send(message)
        except OSError:
            return  # the keeper is gone, and ``poll`` will say so

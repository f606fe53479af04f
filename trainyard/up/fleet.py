"""The children of ``trainyard up``: started, started again when they die, and stopped in order."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from trainyard.up.errors import Stopped, UpError
from trainyard.up.process import Command, Process, bury_orphans, descendants, log_tail
from trainyard.up.signals import Signals

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STEADY_SECONDS = 30.0
LOOK_SECONDS = 0.05
Say = Callable[[str, str], None]


@dataclass
class Member:
    """One part of the service over all its lives."""

    command: Command
    process: Process
    started_at: float
    num_quick_ends: int = 0
    again_at: float | None = None
    pass_fd: int | None = None

    @property
    def name(self) -> str:
        return self.command.name


class Fleet:
    """``kept_by_children`` is a descriptor that children inherit, see ``folder.predecessors_gone``."""

    def __init__(self, signals: Signals, say: Say, kept_by_children: int) -> None:
        self._signals = signals
        self._say = say
        self._kept = kept_by_children
        self._members: list[Member] = []

    def start(self, command: Command, *, may_outlive: bool = False) -> Member:
        """``may_outlive``: it has children that end later than we do, and so inherits nothing."""
        pass_fd = None if may_outlive else self._kept
        member = Member(command, Process(command, pass_fd), time.monotonic(), pass_fd=pass_fd)
        self._members.append(member)
        return member

    def wait_until(self, is_ready: Callable[[], bool], member: Member, *, within: float, patient: bool = False) -> None:
        """Waits for a part that is starting. UpError with the end of its log when it ends or stays silent; Stopped on a signal.

        ``patient``: one that ends is started again meanwhile, because what it needs may still be in the hands of an earlier one.
        """
        end = time.monotonic() + within
        while not is_ready():
            if self._signals.num_stops:
                raise Stopped
            if patient:
                self._look_after(member, time.monotonic())
            elif (code := member.process.exit_code) is not None:
                raise UpError(f"{member.name} {_ending(code)} while it started; {_evidence(member)}")
            if time.monotonic() > end:
                raise UpError(f"{member.name} was not ready within {within:.0f} s; {_evidence(member)}")
            self._signals.wait(LOOK_SECONDS)

    def tend(self) -> None:
        """Starts again what dies, until a signal asks for the end."""
        while not self._signals.num_stops:
            now = time.monotonic()
            for member in self._members:
                self._look_after(member, now)
            bury_orphans(frozenset(member.process.pid for member in self._members))
            due = [member.again_at for member in self._members if member.again_at is not None]
            self._signals.wait(min(due) - now if due else 60.0)

    def _look_after(self, member: Member, now: float) -> None:
        if member.again_at is not None:
            if now >= member.again_at:
                member.again_at = None
                member.process, member.started_at = Process(member.command, member.pass_fd), now
                self._say(member.name, f"started again (process {member.process.pid})")
            return
        code = member.process.exit_code
        if code is not None:
            member.num_quick_ends = 1 if now - member.started_at > STEADY_SECONDS else member.num_quick_ends + 1
            delay = min(FIRST_DELAY * 2 ** (member.num_quick_ends - 1), LONGEST_DELAY)
            member.again_at = now + delay
            self._say(member.name, f"{_ending(code)}; starts again in {delay:g} s, see {member.command.log}")

    def stop(self, *, patience: dict[str, float]) -> None:
        """Stops the newest part first, each with its time to end; one more signal means now."""
        heard = self._signals.num_stops
        if self._members:
            self._say("up", "stopping in order, running jobs are given back; one more Ctrl-C stops at once")
        for member in reversed(self._members):
            if member.process.exit_code is None:
                self._stop_one(member, patience.get(member.name, 10.0), heard)
        self._kill_the_rest()

    def _stop_one(self, member: Member, seconds: float, heard: int) -> None:
        self._say(member.name, "stopping")
        member.process.send(signal.SIGTERM)
        end = time.monotonic() + seconds
        while member.process.exit_code is None:
            if time.monotonic() > end or self._signals.num_stops > heard:
                member.process.send(signal.SIGKILL)
            self._signals.wait(LOOK_SECONDS)
            bury_orphans(frozenset(each.process.pid for each in self._members))
        self._say(member.name, "stopped")

    def _kill_the_rest(self) -> None:
        """Whatever is left below us belongs to a job that had no time to end; it goes on from its checkpoint next time."""
        while left := descendants():
            for pid in left:
                _kill(pid)
            bury_orphans(frozenset())
            self._signals.wait(LOOK_SECONDS)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it was faster


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _evidence(member: Member) -> str:
    return f"the end of {member.command.log}:\n{log_tail(member.command.log)}"

"""One small process per attempt that sees to it that nothing of the attempt outlives it.

It forks the torchrun agent, adopts every orphan of the tree, and lives as long as one process of it does. It holds one end of
a socket whose other end only the supervisor holds: when that closes, the supervisor is gone, and the tree goes too.
Standard library only, one thread, no secret. Warm it is a fork of the launch pad, cold ``python -m worker.keeper``.

Messages it understands: START, TERM (asks the agent to stop the ranks), KILL (the whole tree, at once).
Messages it sends, as JSON: {"agent_pid": n}, {"agent_exit": code}, {"gone": true} when no process of the tree is left.
"""

import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from worker.confinement.walls import step_behind
from worker.launch_plan import LaunchPlan
from worker.processes import adopt_orphans, close_all_but, descendants, die_with_parent, fork, kill, kill_all_of, reset_signals

START, TERM, KILL = b"START", b"TERM", b"KILL"
MAX_MESSAGE = 256
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

BecomeAgent = Callable[[LaunchPlan], NoReturn]


def keep(plan: LaunchPlan, channel: socket.socket, become_agent: BecomeAgent) -> None:
    """The whole life of a keeper. Standard input is the open file that holds the devices' locks."""
    # Nothing but the end of the tree or of the supervisor may end this process.
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    if channel.recv(MAX_MESSAGE) != START:
        return  # the supervisor gave up waiting for us, and has started another keeper by now
    tree = Tree(fork_agent(plan, channel, become_agent), user=plan.walls.user if plan.walls else None)
    say(channel, agent_pid=tree.agent)
    guard(tree, channel)
    tree.kill()
    say(channel, agent_exit=tree.agent_exit)
    # Held until now: a daemon of the tree that closed its own standard input may have been on a device to the end.
    let_go_of_devices()
    say(channel, gone=True)


class Tree:
    """The processes below us."""

    def __init__(self, agent: int, *, user: int | None = None) -> None:
        self.agent = agent
        self.user = user  # whose processes are all of the tree, where they have a user of their own
        self.agent_exit: int | None = None

    def reap(self, *, wait: bool = False) -> bool:
        """Collects those that have ended, adopted orphans included; False when there are no children at all."""
        while True:
            try:
                pid, status = os.waitpid(-1, 0 if wait else os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == self.agent:
                self.agent_exit = os.waitstatus_to_exitcode(status)
            if wait or pid == 0:
                return True

    def kill(self) -> None:
        """Ends only when no process is left below us: whoever is orphaned meanwhile becomes our child, and is met in the next round."""
        while True:
            if self.user is not None:
                kill_all_of(self.user)
            kill(descendants(os.getpid()))
            if not self.reap(wait=True):
                return

    def terminate(self) -> None:
        if self.agent_exit is None:
            os.kill(self.agent, signal.SIGTERM)


def guard(tree: Tree, channel: socket.socket) -> None:
    """Returns when the agent has ended, or the whole tree is to be killed: because we are told so, or nobody is there to tell."""
    wake_up, waker = socket.socketpair()
    waker.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    try:
        watch(tree, channel, wake_up)
    finally:
        signal.set_wakeup_fd(-1)  # what is killed from now on would wake a closed socket, and the complaint lands in the agent's log


def watch(tree: Tree, channel: socket.socket, wake_up: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(wake_up, selectors.EVENT_READ)
        selector.register(channel, selectors.EVENT_READ)
        tree.reap()  # a child may have ended before the signal was caught
        while tree.agent_exit is None:
            for key, _ in selector.select():
                if key.fileobj is wake_up:
                    wake_up.recv(4096)
                    tree.reap()
                elif not obey(tree, channel):
                    return


def obey(tree: Tree, channel: socket.socket) -> bool:
    """Does what the next message says; False when the tree is to be killed."""
    try:
        message = channel.recv(MAX_MESSAGE)
    except ConnectionError:
        return False
    if message == TERM:
        tree.terminate()
    return message not in (KILL, b"")


def say(channel: socket.socket, **message: int | bool | None) -> None:
    try:
        channel.send(json.dumps(message).encode(), socket.MSG_DONTWAIT)
    except OSError:
        return  # nobody listens any more, or only a stopped process: the tree's end does not depend on it


def let_go_of_devices() -> None:
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)


def fork_agent(plan: LaunchPlan, channel: socket.socket, become_agent: BecomeAgent) -> int:
    """The pid of the child that becomes the agent, with the log as its output and our standard input as its own."""
    keeper = os.getpid()

    def agent() -> NoReturn:
        die_with_parent(signal.SIGKILL, keeper)
        channel.close()
        reset_signals()
        output = os.open(plan.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        close_all_but(())
        if plan.walls:
            let_go_of_devices()  # a stranger could unlock them: the locks belong to the open file that all of us share
            step_behind(plan.walls)
            die_with_parent(signal.SIGKILL, keeper)  # which becoming another user has taken back
        os.chdir(plan.cwd)
        become_agent(plan)

    return fork(agent)


def execute_agent(plan: LaunchPlan) -> NoReturn:
    """The cold way: a program of its own, with exactly the plan's environment."""
    os.execve(sys.executable, [sys.executable, "-P", "-m", "trainer.agent", str(plan.ranks_file), *plan.argv], plan.env)


def main() -> None:
    """``python -m worker.keeper CHANNEL_FD``: the first message is the plan; standard input holds the locks."""
    os.umask(0o077)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        channel.set_inheritable(False)
        plan = LaunchPlan.from_json(channel.recv(1 << 20))
        close_all_but([channel.fileno()])
        keep(plan, channel, execute_agent)


if __name__ == "__main__":
    main()

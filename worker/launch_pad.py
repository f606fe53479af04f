"""The warm parent of a node: imports everything once, then forks a keeper or a supervisor per request, in milliseconds.

``python -m worker.launch_pad SOCKET`` prints one JSON line when it is ready. It runs one thread and no tensor operation, opens
no CUDA, and holds no secret: what is forked from it inherits its memory. Nothing depends on it after a fork, so it may be
killed and started again at any time. SIGTERM ends it and leaves its forks alone.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from worker.keeper import keep
from worker.launch_plan import INTERPRETER, LaunchPlan
from worker.pad_door import Answer, Request, open_door, receive, reply
from worker.processes import MARKER, close_all_but, die_with_parent, fork, hide_memory, mark, num_threads, placeholder, reset_signals

# By name, because the worker's code may not import the trainer's: the pad only keeps it in memory for its forks.
AGENT, SUPERVISOR = "trainer.agent", "worker.supervisor"
PRELOADED = (
    "torch",
    "torch._dynamo",  # else the first optimiser imports it: 3 s
    "torch.distributed.run",
    "torch.distributed.elastic.rendezvous.static_tcp_rendezvous",
    "torch.export._trace",  # else every rank 0 that packages its model imports it: 0.7 s
    "torch.nn.parallel.distributed",
    "torch.optim",
    "torch.profiler._cupti_monitor",
    "multiprocessing.popen_fork",
    "multiprocessing.queues",
    "encodings.idna",  # of the first host name that is resolved
    "safetensors.torch",
    "httpx2",
    "httpcore2",  # httpx2 imports it for the first client: 35 ms
    AGENT,
    "trainer.warm",
    SUPERVISOR,
)
# What is read once, when a program or a library starts, and must therefore be in force before the fork.
ENVIRONMENT = {
    **INTERPRETER,  # a rank's prints reach its log at once, warm as well as cold
    "OMP_NUM_THREADS": "1",  # a rank sets its own number of threads
    "MKL_NUM_THREADS": "1",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    MARKER: placeholder(),
}
CUDA_PROOF_SECONDS = 60


class NotFit(Exception):
    """This process must not be forked from."""


class LaunchPad:
    """Serves the door until it is told to stop."""

    def __init__(self, door: socket.socket, key: str) -> None:
        self._door = door
        self._key = key
        self._selector = selectors.DefaultSelector()
        self._wake_up, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._stopped = False

    def serve(self) -> None:
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._door, selectors.EVENT_READ, self._welcome)
        self._selector.register(self._wake_up, selectors.EVENT_READ, self._collect)
        while not self._stopped:
            for key, _ in self._selector.select():
                key.data(key.fileobj)

    def _stop(self, *_: object) -> None:
        self._stopped = True

    def _welcome(self, door: socket.socket) -> None:
        connection, _ = door.accept()
        self._selector.register(connection, selectors.EVENT_READ, self._answer)

    def _collect(self, wake_up: socket.socket) -> None:
        """Collects forks that have ended."""
        wake_up.recv(4096)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return  # no forks at all

    def _answer(self, connection: socket.socket) -> None:
        try:
            request, descriptors = receive(connection, self._key)
        except (OSError, ValueError) as error:
            reply(connection, Answer(refusal=str(error)))
            request, descriptors = None, []
        if request is None:
            self._selector.unregister(connection)
            connection.close()
            return
        try:
            reply(connection, _obey(request, descriptors))
        finally:
            for fd in descriptors:
                os.close(fd)  # at once: the next fork must not hold another attempt's devices


def _obey(request: Request, descriptors: Sequence[int]) -> Answer:
    if request.kind == "ping":
        return Answer(pid=os.getpid())
    if len(descriptors) != 2:
        return Answer(refusal=f"{request.kind} needs two descriptors, not {len(descriptors)}")
    try:
        require_fit()
    except NotFit as error:
        return Answer(refusal=str(error))
    start = _keeper if request.kind == "keeper" else _supervisor
    return Answer(pid=_fork(lambda: start(request, *descriptors), descriptors))


def require_fit() -> None:
    """Raises NotFit when a fork would inherit a broken state: locks of threads that it does not have, or an open CUDA context."""
    if (threads := num_threads()) != 1:
        raise NotFit(f"the pad runs {threads} threads")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise NotFit("CUDA is initialised in the pad")


def _fork(work: Callable[[], None], kept: Sequence[int]) -> int:
    """The pid of a child that does ``work`` in a session of its own, with ``kept`` and the pad's standard error open, and ends."""

    def child() -> int:
        os.setsid()
        reset_signals()
        close_all_but(kept)
        os.dup2(2, 1)  # the pad's own standard output is its parent's business
        work()
        return 0

    return fork(child)


def _keeper(request: Request, channel_fd: int, locks_fd: int) -> None:
    plan = LaunchPlan.from_json(request.plan)
    mark(plan.attempt_id)
    os.dup2(locks_fd, 0)
    os.close(locks_fd)
    with socket.socket(fileno=channel_fd) as channel:
        keep(plan, channel, become_agent)


def become_agent(plan: LaunchPlan) -> NoReturn:
    """The warm way: this very process is the agent, in the plan's environment."""
    os.environ.clear()  # why: an agent's environment is its plan's, as if it had been executed with it
    os.environ.update(plan.env)  # why: the same
    code = importlib.import_module(AGENT).main(plan.ranks_file, plan.argv, forks_ranks=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _supervisor(_request: Request, claim_fd: int, locks_fd: int) -> None:
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    hide_memory()  # before the claim with its token is read
    importlib.import_module(SUPERVISOR).main(claim_fd, locks_fd)


def prove_cuda() -> None:
    """On a node with GPUs: forks once and runs one operation there. NotFit when that fails, and then the node launches cold."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return

    def proof() -> int:
        signal.alarm(CUDA_PROOF_SECONDS)
        return 0 if torch.ones(1, device="cuda").item() == 1 else 1

    pid = fork(proof)
    _, status = os.waitpid(pid, 0)
    if status:
        raise NotFit(f"a fork of the pad cannot use CUDA: it ended with {os.waitstatus_to_exitcode(status)}")


def _preload(modules: Sequence[str]) -> None:
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would touch, and so copy, every page
    require_fit()


def main(door: Path, modules: Sequence[str] = PRELOADED) -> None:
    began = time.monotonic()
    os.umask(0o077)
    _preload(modules)
    prove_cuda()
    pad = LaunchPad(*open_door(door))
    print(json.dumps({"ready": True, "pid": os.getpid(), "seconds": round(time.monotonic() - began, 3)}), flush=True)
    pad.serve()


def prepare() -> None:
    """Starts this program anew, unless the environment is already what the libraries and the forks' mark need."""
    environ = os.environ  # why: what is in force is the environment that the process was executed with, not a setting
    if not ENVIRONMENT.items() <= environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "worker.launch_pad", *sys.argv[1:]], {**environ, **ENVIRONMENT})


if __name__ == "__main__":
    # The parent starts a new pad when this one is gone; a pad without a parent would wait for ever.
    die_with_parent(signal.SIGTERM, os.getppid())
    prepare()
    main(Path(sys.argv[1]), sys.argv[2:] or PRELOADED)

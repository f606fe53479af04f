"""A process that has imported what a rank needs and forks an agent for each line it reads, as a node's launch pad does.

In: ``{"run_dir", "argv", "env"}``. Out: ``{"pid": N}``, and when that process has ended ``{"code": exit code, negative: signal}``.
"""

import json
import os
import sys
from pathlib import Path

import torch._dynamo  # imported by the first optimiser otherwise, for a second

import trainer.warm
from trainer import agent

PRELOADED = (torch._dynamo, trainer.warm)


def become_agent(request: dict[str, object]) -> None:
    """In the fork: a session and an environment of its own, output to the run directory."""
    os.setsid()
    run_dir = Path(str(request["run_dir"]))
    log = os.open(run_dir / "logs" / "agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    code = 1
    try:
        code = agent.main(run_dir / "logs" / "ranks.json", request["argv"], forks_ranks=True)  # type: ignore[arg-type]
    finally:
        os._exit(code)


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            become_agent(json.loads(line))
        print(json.dumps({"pid": pid}), flush=True)
        print(json.dumps({"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}), flush=True)


if __name__ == "__main__":
    main()

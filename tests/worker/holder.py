"""A process that launches a tree and holds it, as a supervisor does, until it is killed. Prints the pids of keeper and agent."""

import json
import os
import signal
import sys
from pathlib import Path

from tests.worker.trees import NUM_DEVICES
from worker.devices import reserve_free
from worker.launch_plan import LaunchPlan
from worker.launcher import Launcher
from worker.processes import die_with_parent, parents

die_with_parent(signal.SIGKILL, os.getppid())
told = json.loads(sys.argv[1])
reservation = reserve_free(Path(told["locks"]), NUM_DEVICES)
launcher = Launcher(Path(told["door"]) if told["door"] else None)
tree = launcher.start(LaunchPlan.from_json(Path(told["plan"]).read_text()), reservation.fd)
while tree.agent_pid is None:
    tree.poll()
print(json.dumps({"launched": tree.launched, "agent": tree.agent_pid, "keeper": parents()[tree.agent_pid]}), flush=True)
while True:
    signal.pause()

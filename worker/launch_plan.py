"""What one attempt's launch will be, as a value: arguments, environment, folders. Nothing is started here, nothing heavy imported.

The same plan is launched warm or cold, so that a deterministic job cannot tell the two apart.
"""

import json
import math
import random
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from worker.confinement.walls import Walls
from worker.processes import MARKER

if TYPE_CHECKING:  # the keeper reads plans and must stay small: no pydantic
    from core.run_dir import RunDir
    from core.spec import JobSpec

DeviceKind = Literal["cpu", "cuda"]

# Below the range that Linux takes outgoing ports from (32768 to 60999): none of those can be in the way.
PORTS = range(20_000, 32_000)
MONITOR_SECONDS = 0.02
PACKAGES = ("core", "trainer", "trainyard", "worker")

# Of the operator's environment the ranks get these and nothing else: a token set there by mistake stays out.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME")
PASSED_ON_PREFIXES = ("NCCL_", "GLOO_")

INTERPRETER = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
    "PYTHONSAFEPATH": "1",  # neither the run directory nor the script's folder lends modules to the ranks
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """All that the keeper needs to start one torchrun agent."""

    attempt_id: str
    argv: tuple[str, ...]  # torchrun's options, then the script and its arguments
    env: dict[str, str]  # the whole environment of the tree
    cwd: Path
    log: Path  # what the agent itself prints
    ranks_file: Path  # where the agent tells which ranks failed
    world_size: int
    shutdown_timeout: timedelta  # from the ranks' SIGTERM to their SIGKILL
    walls: Walls | None = None  # around programs of strangers

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "shutdown_timeout": self.shutdown_timeout.total_seconds()}, default=str)

    @classmethod
    def from_json(cls, text: str | bytes) -> "LaunchPlan":
        values: dict[str, Any] = json.loads(text)
        values |= {name: Path(values[name]) for name in ("cwd", "log", "ranks_file")}
        values |= {"argv": tuple(values["argv"]), "shutdown_timeout": timedelta(seconds=values["shutdown_timeout"])}
        values["walls"] = Walls(**values["walls"]) if values["walls"] else None
        return cls(**values)


def plan_launch(
    run_dir: "RunDir",
    *,
    attempt_id: str,
    spec: "JobSpec",
    devices: tuple[int, ...],
    device_kind: DeviceKind,
    shutdown_timeout: timedelta,
    environ: Mapping[str, str] | None = None,
) -> LaunchPlan:
    """One rank for each device, all on this node. ``environ`` is the operator's environment, of which little is passed on."""
    options = torchrun_options(run_dir, attempt_id, len(devices), shutdown_timeout)
    threads = getattr(spec.training, "threads_per_rank", None)
    return LaunchPlan(
        attempt_id=attempt_id,
        argv=(*options, str(rank_script()), str(run_dir.root)),
        env={
            **base_environment(run_dir, environ or {}),
            "CUDA_VISIBLE_DEVICES": ",".join(map(str, devices)) if device_kind == "cuda" else "",
            **({"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} if isinstance(threads, int) else {}),
            MARKER: attempt_id,
        },
        cwd=run_dir.root,
        log=run_dir.logs / "agent.log",
        ranks_file=run_dir.ranks,
        world_size=len(devices),
        shutdown_timeout=shutdown_timeout,
    )


def packages() -> list[Path]:
    """The folders of the packages whose code runs in ranks, found without importing them."""
    found = [find_spec(name) for name in PACKAGES]
    return [Path(folder) for spec in found if spec for folder in spec.submodule_search_locations or ()]


def rank_script() -> Path:
    """``trainer/main.py``, found without importing it."""
    spec = find_spec("trainer")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the package 'trainer' is not installed")
    return Path(spec.submodule_search_locations[0]) / "main.py"


def torchrun_options(run_dir: "RunDir", attempt_id: str, num_ranks: int, shutdown_timeout: timedelta) -> tuple[str, ...]:
    """One node, static rendezvous on the loopback, no restarts."""
    return (
        "--nnodes=1",
        f"--nproc-per-node={num_ranks}",
        f"--rdzv-id={attempt_id}",
        "--rdzv-backend=static",  # 40 ms to the ranks' first line; c10d takes 150 to 300
        "--master-addr=127.0.0.1",
        f"--master-port={free_port()}",
        "--local-addr=127.0.0.1",
        "--max-restarts=0",  # whatever is retried is a new, visible attempt; and a restart hangs with forked ranks
        f"--monitor-interval={MONITOR_SECONDS}",
        f"--log-dir={run_dir.logs}",
        "--redirects=3",
        f"--shutdown-timeout={math.ceil(shutdown_timeout.total_seconds())}",
    )


def base_environment(run_dir: "RunDir", environ: Mapping[str, str]) -> dict[str, str]:
    """What every rank of this node finds in its environment; of ``environ``, the operator's, only harmless names."""
    passed_on = {name: value for name, value in environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)}
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(run_dir.scratch),
        "LANG": "C.UTF-8",
        **passed_on,
        "TMPDIR": str(run_dir.scratch),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        **INTERPRETER,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the numbering of the inventory
        # Without it the agent would open CUDA before it forks the ranks.
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        "TORCHELASTIC_ERROR_FILE": str(run_dir.error),
    }


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on at this moment."""
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {PORTS.start} and {PORTS.stop}")

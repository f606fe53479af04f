"""How a script is launched: always by torchrun's agent under the keeper, which tells of every rank how it ended."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from worker.confinement.walls import Walls
from worker.launch_plan import LaunchPlan, base_environment, torchrun_options
from worker.processes import MARKER
from worker.script.contract import Setting, arguments, environment

# What torchrun tells its ranks. A script that is started by hand as one process does not find them.
RANK_VARIABLES = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"),
    *("ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS"),
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_ERROR_FILE", "TORCH_NCCL_ASYNC_ERROR_HANDLING"),
)
USER = "trainyard"


def plan_script(
    setting: Setting,
    *,
    attempt_id: str,
    devices: tuple[int, ...],
    python: Path,
    shutdown_timeout: timedelta,
    environ: Mapping[str, str],
    walls: Walls | None = None,
) -> LaunchPlan:
    """One rank for each device, or one process that sees them all. ``python`` is the interpreter with the script's packages."""
    run_dir, spec = setting.run_dir, setting.spec
    num_ranks = 1 if spec.launcher == "python" else len(devices)
    script = (str(setting.dirs.code / spec.entrypoint), *arguments(spec))
    alone = [part for name in RANK_VARIABLES for part in ("-u", name)]
    program = ("--no-python", "/usr/bin/env", *alone, str(python), "-u", *script) if spec.launcher == "python" else script
    base = base_environment(run_dir, environ)
    del base["PYTHONSAFEPATH"]  # the script's own folder lends it modules, as everywhere
    return LaunchPlan(
        attempt_id=attempt_id,
        argv=(*torchrun_options(run_dir, attempt_id, num_ranks, shutdown_timeout), *program),
        env={
            **base,
            "HOME": str(run_dir.scratch),  # the operator's holds credentials of other tools
            "USER": USER,  # another user than ours has no entry to look its name up in
            "LOGNAME": USER,
            "PYTHON_EXEC": str(python),  # what torchrun starts its ranks with
            "CUDA_VISIBLE_DEVICES": ",".join(map(str, devices)) if setting.device_kind == "cuda" else "",
            **environment(setting),
            MARKER: attempt_id,
        },
        cwd=setting.dirs.code,
        log=run_dir.logs / "agent.log",
        ranks_file=run_dir.ranks,
        world_size=num_ranks,
        shutdown_timeout=shutdown_timeout,
        walls=walls,
    )

"""The environment that scripts of other services expect, so that they run here unchanged.

SageMaker's training toolkit: https://github.com/aws/sagemaker-training-toolkit (ENVIRONMENT_VARIABLES.md; ``mapping.py`` for how
hyperparameters become arguments). Vertex AI: "Prepare training code", its ``AIP_`` variables. dstack: its ``DSTACK_`` variables.
Nothing here is a secret, and nothing of ours that is one is in it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from core.recipes.script import ScriptSpec
from core.run_dir import RunDir
from core.spec import MAIN_CHANNEL
from worker.launch_plan import DeviceKind
from worker.script.layout import ScriptDirs

CONTAINER = "/opt/ml"
HOST, GROUP, INSTANCE, NETWORK = "algo-1", "homogeneousCluster", "local", "lo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the contract is filled from."""

    spec: ScriptSpec
    job_id: str
    dirs: ScriptDirs
    run_dir: RunDir
    device_kind: DeviceKind
    num_devices: int
    channels: Mapping[str, Path] = field(default_factory=dict)  # where each dataset lies: a folder or a file
    resume_from: Path | None = None
    reporting: Mapping[str, str] = field(default_factory=dict)  # variables that lead to the tracking server


def in_place(spec: ScriptSpec, dirs: ScriptDirs) -> ScriptSpec:
    """Paths below ``/opt/ml`` in what the script is given, as it was written for a container: here they lie below the run directory."""

    def placed(value: Any) -> Any:
        is_inside = isinstance(value, str) and (value == CONTAINER or value.startswith(f"{CONTAINER}/"))
        return f"{dirs.root}{value.removeprefix(CONTAINER)}" if is_inside else value

    return spec.model_copy(
        update={
            "hyperparameters": {key: placed(value) for key, value in spec.hyperparameters.items()},
            "args": tuple(placed(arg) for arg in spec.args),
            "env": {name: placed(value) for name, value in spec.env.items()},
        }
    )


def write_inputs(setting: Setting) -> None:
    """The configuration files, and a link to every dataset, below ``input``."""
    config = {
        "hyperparameters.json": {key: encoded(value) for key, value in setting.spec.hyperparameters.items()},
        "inputdataconfig.json": _data_config(setting),
        "resourceconfig.json": _resources(),
    }
    for name, content in config.items():
        (setting.dirs.config / name).write_text(json.dumps(content))
    for channel, source in setting.channels.items():
        place = setting.dirs.data / channel
        if source.is_dir():
            place.symlink_to(source)
        else:
            place.mkdir(mode=0o700)
            (place / source.name).symlink_to(source)


def environment(setting: Setting) -> dict[str, str]:
    """Every variable beside those that all ranks of this service have; the spec's own ``env`` comes last."""
    others = {**_vertex(setting), **_dstack(setting), **_accelerate(setting)}
    return {**_sagemaker(setting), **others, **_run(setting), **setting.reporting, **setting.spec.env}


def arguments(spec: ScriptSpec) -> tuple[str, ...]:
    """Hyperparameters as ``--key value`` in the order of their keys (one letter: ``-k``), then the spec's own arguments."""
    flags: list[str] = []
    for key, value in sorted(spec.hyperparameters.items()):
        flags += [f"--{key}" if len(key) > 1 else f"-{key}", _as_argument(value)]
    return (*flags, *spec.args)


def encoded(value: Any) -> str:
    """Texts as they are, nothing for None, all else as compact JSON with sorted keys."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _as_argument(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in sorted(value.items()))
    return "" if value is None else str(value)


def _sagemaker(setting: Setting) -> dict[str, str]:
    values = _training_environment(setting)
    spec = setting.spec
    named = {
        **{name.upper(): value for name, value in values.items()},
        "HPS": spec.hyperparameters,
        "CHANNELS": sorted(setting.channels),
        "USER_ENTRY_POINT": spec.entrypoint,
        "FRAMEWORK_PARAMS": {},
        "INPUT_DATA_CONFIG": _data_config(setting),
        "LOG_LEVEL": 20,
        "USER_ARGS": list(arguments(spec)),
        "TRAINING_ENV": values,
        **{f"CHANNEL_{channel.upper()}": _channel(setting, channel) for channel in setting.channels},
        **{f"HP_{key.upper()}": value for key, value in spec.hyperparameters.items()},
    }
    hidden = ("HYPERPARAMETERS", "CHANNEL_INPUT_DIRS", "JOB_NAME", "IS_MASTER", "MASTER_HOSTNAME", "ADDITIONAL_FRAMEWORK_PARAMETERS")
    return {
        **{f"SM_{name}": encoded(value) for name, value in named.items() if name not in hidden},
        "SAGEMAKER_BASE_DIR": str(setting.dirs.root),
        "TRAINING_JOB_NAME": setting.job_id,
    }


def _training_environment(setting: Setting) -> dict[str, Any]:
    """What ``SM_TRAINING_ENV`` holds; most of it is a variable of its own too."""
    dirs, spec = setting.dirs, setting.spec
    return {
        "additional_framework_parameters": {},
        "channel_input_dirs": {channel: _channel(setting, channel) for channel in setting.channels},
        "current_host": HOST,
        "current_instance_group": GROUP,
        "current_instance_type": INSTANCE,
        "framework_module": "",
        "hosts": [HOST],
        "hyperparameters": spec.hyperparameters,
        "input_config_dir": str(dirs.config),
        "input_data_config": _data_config(setting),
        "input_dir": str(dirs.input),
        "instance_groups": [GROUP],
        "instance_groups_dict": {GROUP: _group()},
        "is_hetero": False,
        "is_master": True,
        "job_name": setting.job_id,
        "log_level": 20,
        "master_hostname": HOST,
        "model_dir": str(dirs.model),
        "module_dir": str(dirs.code),
        "module_name": PurePosixPath(spec.entrypoint).stem,
        "network_interface_name": NETWORK,
        "num_cpus": os.cpu_count() or 1,
        "num_gpus": setting.num_devices if setting.device_kind == "cuda" else 0,
        "num_neurons": 0,
        "output_data_dir": str(dirs.output_data),
        "output_dir": str(dirs.output),
        "output_intermediate_dir": str(dirs.intermediate),
        "resource_config": _resources(),
        "user_entry_point": spec.entrypoint,
    }


def _channel(setting: Setting, channel: str) -> str:
    return str(setting.dirs.data / channel)


def _data_config(setting: Setting) -> dict[str, Any]:
    whole = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    return {channel: whole for channel in sorted(setting.channels)}


def _group() -> dict[str, Any]:
    return {"instance_group_name": GROUP, "instance_type": INSTANCE, "hosts": [HOST]}


def _resources() -> dict[str, Any]:
    return {
        "current_host": HOST,
        "current_instance_type": INSTANCE,
        "current_group_name": GROUP,
        "hosts": [HOST],
        "instance_groups": [_group()],
        "network_interface_name": NETWORK,
    }


def _vertex(setting: Setting) -> dict[str, str]:
    dirs = setting.dirs
    folders = {"AIP_MODEL_DIR": dirs.model, "AIP_CHECKPOINT_DIR": dirs.checkpoints, "AIP_TENSORBOARD_LOG_DIR": dirs.tensorboard}
    return {name: f"{folder}/" for name, folder in folders.items()}


def _dstack(setting: Setting) -> dict[str, str]:
    return {
        "DSTACK_NODE_RANK": "0",
        "DSTACK_NODES_NUM": "1",
        "DSTACK_GPUS_PER_NODE": str(setting.num_devices if setting.device_kind == "cuda" else 0),
        "DSTACK_MASTER_NODE_IP": "127.0.0.1",
    }


def _accelerate(setting: Setting) -> dict[str, str]:
    """Without the first, each CPU rank of an Accelerate script trains alone, and none says so."""
    on_cpu = {"ACCELERATE_USE_CPU": "true"} if setting.device_kind == "cpu" else {}
    if setting.spec.launcher != "accelerate":
        return on_cpu
    return {**on_cpu, "ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO"}


def _run(setting: Setting) -> dict[str, str]:
    """What ``trainyard.run`` reads."""
    dirs = setting.dirs
    names = {
        "DIR": str(setting.run_dir.reports),
        "SAVED_DIR": str(setting.run_dir.saved),
        "STOP_FILE": str(setting.run_dir.stop),
        "CHECKPOINT_DIR": str(dirs.checkpoints),
        "OUTPUT_DIR": str(dirs.output_data),
        "CHANNELS": json.dumps({channel: str(path) for channel, path in setting.channels.items()}),
        "MAIN_CHANNEL": MAIN_CHANNEL,
        **({"RESUME_FROM": str(setting.resume_from)} if setting.resume_from else {}),
        **({"SECRETS_DIR": str(dirs.secrets)} if setting.spec.secrets else {}),
    }
    return {f"TRAINYARD_RUN_{name}": value for name, value in names.items()}

"""script: a program of the user's own, unchanged, on one rank for each device or as one process.

What it is handed (``SM_*``, ``AIP_*``, torchrun's variables, folders) is in ``docs/SCRIPTS.md``; the worker's side is ``worker/script``.
"""

import json
import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, Tag, field_validator, model_validator

from core.manifest import RelativePath, Sha256
from core.spec import MAIN_CHANNEL, ChannelName, Dataset, JobSpec, LocalPath, Strict, by_key

KIB = 1 << 10
MAX_INLINE_BYTES = 512 * KIB
MAX_CODE_BYTES = 1 << 30
# All of these together go through one message and one environment, hyperparameters several times.
MAX_JSON_BYTES, MAX_ARGS_BYTES, MAX_ENV_BYTES = 8 * KIB, 8 * KIB, 16 * KIB

Argument = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]
Key = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
VariableName = Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
SecretName = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
RequirementsFile = Annotated[RelativePath, StringConstraints(pattern=r"\.txt$")]
MetricPatternName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
IsolationWish = Literal["any", "strict"]
Launcher = Literal["torchrun", "python", "accelerate"]

# What would break the node, pass for ours, or contradict what the launch says.
RESERVED = re.compile(
    r"(LD_|DYLD_|PYTHON|TRAINYARD_|SM_|SAGEMAKER_|AIP_|TORCHELASTIC_|PET_|MALLOC_|GCONV_|BASH_FUNC_).*"
    r"|PATH|HOME|TMPDIR|SHELL|IFS|ENV|BASH_ENV|GLIBC_TUNABLES|CUDA_VISIBLE_DEVICES|CUDA_DEVICE_ORDER|TRAINING_JOB_NAME"
    r"|((LOCAL|GROUP|ROLE)_)?RANK|((LOCAL|GROUP|ROLE)_)?WORLD_SIZE|ROLE_NAME|MASTER_ADDR|MASTER_PORT"
)
# RE2 has neither, and Python's own engine would accept them.
_BEYOND_RE2 = re.compile(r"\\[1-9]|\(\?(P=|<?[=!]|\(|>)")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][^\x00-\x1f\x7f]{0,255}")


def check_requirement(line: str) -> str:
    """One line of a requirements file: a project with its version, and no option of pip's, path or address."""
    if not _REQUIREMENT.fullmatch(line) or "@" in line or "://" in line or " -" in line:
        raise ValueError("must be a project with versions, such as 'einops>=0.8'; options, paths and addresses are not taken")
    return line


Requirement = Annotated[str, AfterValidator(check_requirement)]


class InlineCode(Strict):
    """Text files, written into the script's folder as they are."""

    files: dict[RelativePath, str] = Field(min_length=1, max_length=64)

    @field_validator("files")
    @classmethod
    def _small(cls, files: dict[str, str]) -> dict[str, str]:
        if sum(len(text.encode("utf-8", "surrogatepass")) for text in files.values()) > MAX_INLINE_BYTES:
            raise ValueError(f"files inside a spec hold {MAX_INLINE_BYTES} bytes at most; upload an archive instead")
        below = [name for name in files if any(name.startswith(f"{other}/") for other in files)]
        if below:
            raise ValueError(f"{below[0]} lies below a file")
        return files


class UploadedCode(Strict):
    """A zip or tar archive (plain or gzipped) that the project has uploaded."""

    sha256: Sha256
    size: int = Field(ge=1, le=MAX_CODE_BYTES)


class PathCode(Strict):
    """A folder that already lies on the workers, inside a root that their operator allows; copied for every attempt."""

    path: LocalPath


Code = Annotated[
    Annotated[InlineCode, Tag("<files>")] | Annotated[UploadedCode, Tag("<sha256>")] | Annotated[PathCode, Tag("<path>")],
    by_key("files", "sha256", "path"),
]


class MetricPattern(Strict):
    """A metric in lines that rank 0 prints. The first group is the number; the name ``step`` gives the step of what follows."""

    name: MetricPatternName
    pattern: str = Field(min_length=1, max_length=512, description="a regular expression (RE2), looked for in lines of 2000 bytes at most")

    @field_validator("pattern")
    @classmethod
    def _one_number(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if not groups:
            raise ValueError("needs a group around the number, such as 'loss: ([0-9.]+)'")
        if _BEYOND_RE2.search(pattern):
            raise ValueError("back references and look-around are not taken")
        return pattern


def _check_name(name: str) -> str:
    if RESERVED.fullmatch(name):
        raise ValueError(f"{name} is set by the service and cannot be given")
    return name


class ScriptSpec(JobSpec):
    """Code, how it is started, and what it is given."""

    summary: ClassVar[str] = "A program of your own, unchanged"

    recipe: Literal["script"]
    code: Code
    entrypoint: RelativePath = Field(description="the Python file to run, relative to the code")
    args: tuple[Argument, ...] = Field(default=(), max_length=256, description="after the hyperparameters")
    hyperparameters: dict[Key, JsonValue] = Field(default={}, max_length=256, description="handed on as --key value, SM_HP_KEY and JSON")
    launcher: Launcher = Field(default="torchrun", description="python: one process that sees every device")
    env: dict[Annotated[VariableName, AfterValidator(_check_name)], Argument] = Field(default={}, max_length=64)
    secrets: tuple[SecretName, ...] = Field(default=(), max_length=32, description="handed over as files in $TRAINYARD_RUN_SECRETS_DIR")
    requirements: tuple[Requirement, ...] | RequirementsFile = Field(
        default=(), description="Python packages to install, or the name of a requirements file in the code; wheels alone"
    )
    datasets: dict[ChannelName, Dataset] = Field(default={}, max_length=16, description="further datasets, by channel")
    metric_patterns: tuple[MetricPattern, ...] = Field(default=(), max_length=64)
    isolation: IsolationWish = Field(
        default="any", description="strict: only on a worker that lets it see nothing but its own; docs/SCRIPTS.md"
    )

    @model_validator(mode="after")
    def _entrypoint_is_there(self) -> Self:
        if not self.entrypoint.endswith(".py"):
            raise ValueError("entrypoint must be a Python file")
        if isinstance(self.code, InlineCode) and self.entrypoint not in self.code.files:
            raise ValueError(f"entrypoint: code.files has no {self.entrypoint}")
        if isinstance(self.code, InlineCode) and isinstance(self.requirements, str) and self.requirements not in self.code.files:
            raise ValueError(f"requirements: code.files has no {self.requirements}")
        return self

    @model_validator(mode="after")
    def _hyperparameters_are_handable(self) -> Self:
        reserved = [key for key in self.hyperparameters if key.startswith("sagemaker_")]
        if reserved:
            raise ValueError(f"hyperparameters: names that start with sagemaker_ are reserved: {', '.join(reserved)}")
        if len(json.dumps(self.hyperparameters)) > MAX_JSON_BYTES:
            raise ValueError(f"hyperparameters hold {MAX_JSON_BYTES} bytes of JSON at most")
        if "\0" in json.dumps(self.hyperparameters, ensure_ascii=False) or "\\u0000" in json.dumps(self.hyperparameters):
            raise ValueError("hyperparameters cannot hold the character NUL")
        return self

    @model_validator(mode="after")
    def _environment_is_small(self) -> Self:
        if sum(len(arg.encode("utf-8", "surrogatepass")) + 1 for arg in self.args) > MAX_ARGS_BYTES:
            raise ValueError(f"args hold {MAX_ARGS_BYTES} bytes at most")
        if sum(len(f"{name}={value}".encode("utf-8", "surrogatepass")) for name, value in self.env.items()) > MAX_ENV_BYTES:
            raise ValueError(f"env holds {MAX_ENV_BYTES} bytes at most")
        return self

    @model_validator(mode="after")
    def _channels_are_distinct(self) -> Self:
        if self.dataset is not None and MAIN_CHANNEL in self.datasets:
            raise ValueError(f"datasets: the channel {MAIN_CHANNEL} is 'dataset' already")
        if len(set(self.secrets)) < len(self.secrets):
            raise ValueError("secrets: a name stands there twice")
        return self

    def channels(self) -> dict[str, Dataset]:
        return {**super().channels(), **self.datasets}

    def with_channels(self, channels: dict[str, Dataset]) -> Self:
        others = {name: dataset for name, dataset in channels.items() if name in self.datasets}
        return self.model_copy(update={"dataset": channels.get(MAIN_CHANNEL) if self.dataset else None, "datasets": others})


def isolation_of(spec: JobSpec) -> IsolationWish:
    """What a worker has to offer; only programs of strangers ask."""
    return spec.isolation if isinstance(spec, ScriptSpec) else "any"

"""Settings of the API and of a worker: read once from the environment by a ``__main__``, then handed down as values.

Every variable starts with ``TRAINYARD_``: ``TRAINYARD_DATABASE_URL`` is ``database_url``. A wrong value names its variable.
A value may also be the content of a file of that name, in any case of letters, in the folder that ``TRAINYARD_SECRETS_DIR``
names; a variable wins over a file.
"""

import os
import re
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB, GIB = 1 << 20, 1 << 30
# The common part of what stores allow; a prefix part of dots alone would climb.
_STORE_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/(?!\.+(/|$))[A-Za-z0-9_.-]{1,128}){0,8}/?")
_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?/?")


class SettingsError(Exception):
    """An environment variable is missing or has a value that cannot be used."""


def _absolute(roots: tuple[Path, ...]) -> tuple[Path, ...]:
    if any(not root.is_absolute() for root in roots):
        raise ValueError("every root must be an absolute path")
    return roots


def private_text(path: Path, variable: str) -> str:
    """The text of a file of secrets, without the line's end. ValueError unless its owner alone may read it."""
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise ValueError(f"{variable}: {path} is open to others than its owner; chmod 600 it")
            return file.read(65_536).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{variable}: {path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None


class _FromEnvironment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TRAINYARD_", frozen=True, extra="ignore", env_ignore_empty=True)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    failpoint: str | None = Field(default=None, description="drills only: NAME:ACTION, see core/failpoints.py")

    @classmethod
    def from_environment(cls) -> Self:
        """The settings of this process; SettingsError lists every variable that is wrong."""
        folder = os.environ.get("TRAINYARD_SECRETS_DIR")
        if folder and not Path(folder).is_dir():
            raise SettingsError(f"TRAINYARD_SECRETS_DIR: there is no folder {folder}")
        try:
            return cls(_secrets_dir=folder or None)
        except ValidationError as error:
            lines = [_line(item["loc"], item["msg"]) for item in error.errors()]
            raise SettingsError("\n".join(lines)) from None


def _line(place: tuple[int | str, ...], message: str) -> str:
    """What is wrong with one variable; a rule about several has no place and names them itself."""
    named = f"TRAINYARD_{'_'.join(map(str, place)).upper()}: " if place else ""
    return named + message.removeprefix("Value error, ")


def forget_our_environment() -> dict[str, str]:
    """Takes our variables out of this process's environment, so that nothing it starts inherits a secret; the others, as a copy."""
    for name in [name for name in os.environ if name.startswith("TRAINYARD_")]:
        del os.environ[name]
    return dict(os.environ)


class ApiSettings(_FromEnvironment):
    database_url: SecretStr = SecretStr("sqlite:///./.trainyard/trainyard.db")
    broker_url: SecretStr | None = Field(default=None, description="without one, workers find jobs by polling alone")
    data_dir: Path = Field(
        default=Path(".trainyard/bytes"), description="folder of the byte store, and of uploads on their way to a bucket"
    )
    store_url: str | None = Field(default=None, description="s3://bucket/prefix puts the bytes there instead of into the folder")
    s3_endpoint: str | None = Field(default=None, description="of an S3-compatible store; by default that of AWS in the region")
    s3_public_endpoint: str | None = Field(default=None, description="how clients and workers reach it, where that is another")
    s3_region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,64}$")
    s3_access_key_id: str | None = None
    s3_secret_access_key: SecretStr | None = None
    s3_direct: bool = Field(default=True, description="whether clients and workers are handed presigned URLs")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    allowed_hosts: tuple[str, ...] = Field(default=(), description="further values of the Host header; loopback names always pass")
    lease_ttl_seconds: float = Field(default=60, ge=1, le=3600)
    maintenance_seconds: float = Field(default=2.0, gt=0, le=60, description="pause between two passes of reaping and ringing")
    max_body_bytes: int = Field(default=MIB, ge=1024)
    max_manifest_bytes: int = Field(default=32 * MIB, ge=1024, description="of a body that lists files: 100,000 of them fit")
    dataset_roots: tuple[Path, ...] = Field(default=(), description="folders of this machine that datasets may be copied from")
    max_log_bytes_per_attempt: int = Field(default=64 * MIB, ge=1024)
    max_queued_jobs_per_project: int = Field(default=20_000, ge=1)
    idempotency_hours: int = Field(default=72, ge=1)
    master_key: SecretStr | None = Field(
        default=None, min_length=32, description="what secrets and keys are sealed with; keep it apart from the ledger's backups"
    )
    master_key_file: Path | None = Field(default=None, description="the same from a file that its owner alone may read")
    encrypt_at_rest: bool = Field(default=False, description="whether objects are stored encrypted, see docs/DATA_AT_REST.md")

    @field_validator("dataset_roots")
    @classmethod
    def _absolute_roots(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return _absolute(value)

    @property
    def is_public(self) -> bool:
        """Whether the bind address can be reached from other machines."""
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
        return value

    @field_validator("store_url")
    @classmethod
    def _names_a_bucket(cls, value: str | None) -> str | None:
        if value is not None and not _STORE_URL.fullmatch(value):
            raise ValueError("must be s3://bucket or s3://bucket/prefix, of letters, digits and - _ . alone")
        return value

    @field_validator("s3_endpoint", "s3_public_endpoint")
    @classmethod
    def _is_an_origin(cls, value: str | None) -> str | None:
        if value is not None and not _ORIGIN.fullmatch(value):
            raise ValueError("must be http:// or https:// with a host, and a port if need be")
        return value

    @model_validator(mode="before")
    @classmethod
    def _read_master_key(cls, values: Any) -> Any:
        path = values.get("master_key_file")
        if not path:
            return values
        if values.get("master_key"):
            raise ValueError("set one of TRAINYARD_MASTER_KEY and TRAINYARD_MASTER_KEY_FILE, not both")
        return {**values, "master_key": private_text(Path(path), "TRAINYARD_MASTER_KEY_FILE")}

    @model_validator(mode="after")
    def _encryption_has_a_key(self) -> Self:
        if self.encrypt_at_rest and self.master_key is None:
            raise ValueError("TRAINYARD_ENCRYPT_AT_REST needs TRAINYARD_MASTER_KEY or TRAINYARD_MASTER_KEY_FILE")
        return self

    @model_validator(mode="after")
    def _bucket_has_keys(self) -> Self:
        if self.store_url and not (self.s3_access_key_id and self.s3_secret_access_key):
            raise ValueError("TRAINYARD_STORE_URL needs TRAINYARD_S3_ACCESS_KEY_ID and TRAINYARD_S3_SECRET_ACCESS_KEY")
        return self


class WorkerSettings(_FromEnvironment):
    api_url: str = "http://127.0.0.1:8000"
    worker_token: SecretStr = Field(description="an API key with the scope 'worker'")
    broker_url: SecretStr | None = None
    node_name: str = Field(default="", description="by default the host name")
    work_dir: Path = Field(
        default=Path(".trainyard/node"), description="run directories, caches and the device locks; must be a local file system"
    )
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    cpu_slots: int = Field(default=2, ge=1, le=64, description="devices of a node without GPUs")
    data_roots: tuple[Path, ...] = Field(default=(), description="folders that specs may name in dataset.path and base_model.path")
    wheels_dir: Path | None = Field(default=None, description="folder of wheels: scripts' requirements come from there and nowhere else")
    script_user: int = Field(
        default=70_000, ge=0, le=2**31, description="a worker that is root runs scripts as this user and the 255 after it; 0: as its own"
    )
    script_max_processes: int = Field(default=4096, ge=16, description="processes and threads of one script")
    script_max_disk_bytes: int = Field(default=100 * GIB, ge=MIB, description="what the files of one script may hold")
    script_readable: tuple[Path, ...] = Field(default=(), description="further files and folders that scripts may read")
    launch: Literal["warm", "cold"] = "warm"
    poll_seconds: float = Field(default=5.0, gt=0, le=300)
    stop_grace_seconds: float = Field(default=60.0, gt=0, le=3600, description="from asking the ranks to stop to killing them")
    fence_grace_seconds: float = Field(default=15.0, gt=0, description="ranks are stopped this long before an unrenewed lease ends")
    stall_seconds: float = Field(default=120.0, gt=0, description="least time without progress that counts as hung while training")
    prepare_stall_seconds: float = Field(default=900.0, gt=0, description="the same for the other phases")
    keep_run_dirs_hours: float = Field(default=24.0, ge=0)
    predictors: int = Field(default=2, ge=0, le=64, description="models kept in memory to be tried out; 0: this node serves none")
    predictor_idle_seconds: float = Field(default=300.0, gt=0, description="a model that nobody asks for so long is unloaded")
    predictor_max_bytes: int | None = Field(
        default=None,
        ge=GIB,
        description="memory of the process of one model; by default half of the node's, and without a limit on a node with GPUs",
    )
    cache_max_bytes: int = Field(
        default=50 * GIB,
        ge=0,
        description="of datasets, models, environments and prepared data; beyond it, what was used longest ago is removed",
    )
    keep_cache_days: float = Field(default=30.0, ge=0, le=3650, description="what nobody has used for so long is removed as well")

    @field_validator("data_roots", "script_readable")
    @classmethod
    def _absolute_roots(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return _absolute(value)

    @model_validator(mode="after")
    def _api_url_has_a_scheme(self) -> Self:
        if not self.api_url.startswith(("http://", "https://")):
            raise ValueError("TRAINYARD_API_URL must start with http:// or https://")
        return self

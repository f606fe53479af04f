"""What a supervisor is told through its pipe: the claim, with the lease token, and what it has to know of its node."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from core.settings import WorkerSettings
from core.wire.worker import Claim
from worker.confinement.offer import Offer
from worker.script.confine import ScriptLimits


class NodeFacts(BaseModel):
    """The part of a worker's settings that a supervisor needs; no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_url: str
    work_dir: Path
    device_kind: Literal["cpu", "cuda"]
    is_warm: bool
    data_roots: tuple[Path, ...]
    wheels_dir: Path | None = None
    offer: Offer
    script_limits: ScriptLimits
    stop_grace_seconds: float
    fence_grace_seconds: float
    stall_seconds: float
    prepare_stall_seconds: float
    log_level: str
    environ: dict[str, str]

    @classmethod
    def of(cls, settings: WorkerSettings, *, device_kind: Literal["cpu", "cuda"], environ: dict[str, str], offer: Offer) -> "NodeFacts":
        """``environ`` is the operator's environment without our own variables; ``offer`` what was found to hold scripts."""
        return cls(
            api_url=settings.api_url,
            work_dir=settings.work_dir.absolute(),
            device_kind=device_kind,
            is_warm=settings.launch == "warm",
            data_roots=settings.data_roots,
            wheels_dir=settings.wheels_dir.absolute() if settings.wheels_dir else None,
            offer=offer,
            script_limits=ScriptLimits(
                max_processes=settings.script_max_processes,
                max_disk_bytes=settings.script_max_disk_bytes,
                readable=(*settings.data_roots, *settings.script_readable),
            ),
            stop_grace_seconds=settings.stop_grace_seconds,
            fence_grace_seconds=settings.fence_grace_seconds,
            stall_seconds=settings.stall_seconds,
            prepare_stall_seconds=settings.prepare_stall_seconds,
            log_level=settings.log_level,
            environ=environ,
        )


class Orders(BaseModel):
    """One attempt to run. Its text holds the lease token: it goes through a pipe and nowhere else."""

    model_config = ConfigDict(frozen=True)

    claim: Claim
    node: NodeFacts

"""The run directory of one attempt: where everything lies, who writes it, and the two ways to write safely.

Shared by worker and trainer, and the only thing they share: no call crosses between them. ``docs/RUN_DIR.md`` tells the protocol.
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from core.inside import open_inside
from core.manifest import MANIFEST, ManifestError, fsync, verify
from core.recipes import AnyJobSpec
from core.states import Phase, Reason

Model = TypeVar("Model", bound=BaseModel)
MAX_MODEL_BYTES = 64 << 20  # those that a stranger's program writes may have any size

# What the class of a trainer's exception says about the ending. torchrun's error file starts with the class name.
REASON_OF_EXCEPTION: dict[str, Reason] = {
    "InvalidData": Reason.INVALID_DATA,
    "LossNotFinite": Reason.NUMERIC,
    "OutOfMemoryError": Reason.OUT_OF_MEMORY,
    "StorageFailed": Reason.STORAGE,
    "PeerLost": Reason.RANK_DIED,
    "BadRunFile": Reason.PROTOCOL,
    "ExportDiffers": Reason.PROTOCOL,
}


class RunFile(BaseModel):
    """``spec.json``: all that the trainer is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: str
    attempt: int
    spec: AnyJobSpec
    device: Literal["cpu", "cuda"]
    data_dir: str | None = Field(default=None, description="where the materialised dataset lies")
    channel_dirs: dict[str, str] = Field(default={}, description="where every dataset of the spec lies, by channel; data_dir among them")
    base_model_dir: str | None = None
    resume_from: str | None = Field(default=None, description="folder of a verified checkpoint")
    cache_dir: str | None = Field(default=None, description="where prepared data is kept for later jobs of this node")


class StopFile(BaseModel):
    """``stop.json``: why the ranks are asked to stop; written before the signal that wakes them."""

    reason: Literal["pause", "cancel", "drain"]
    asked_at: datetime


class ProgressFile(BaseModel):
    """``progress.json``: replaced at every step; its age tells a hang."""

    phase: Phase
    step: int = 0
    total_steps: int | None = None
    epoch: int | None = None
    total_epochs: int | None = None
    checkpoint_step: int | None = None
    at: float = Field(description="Unix seconds")


class MetricLine(BaseModel):
    """One line of ``metrics.jsonl``."""

    seq: int
    step: int
    at: float
    values: dict[str, float]


class ResultFile(BaseModel):
    """``result.json``: the only proof of an orderly ending."""

    outcome: Literal["succeeded", "stopped"]
    step: int
    metrics: dict[str, float] = {}
    weights_sha256: str | None = None


class RankFailure(BaseModel):
    rank: int
    exit_code: int = Field(description="negative: the number of the signal")
    message: str | None = None
    at: float


class RanksFile(BaseModel):
    """``ranks.json``: written by the agent when ranks failed, or when all of them left with code 0 after it was told to stop them."""

    failures: tuple[RankFailure, ...]
    left_in_order: bool = False


@dataclass(frozen=True, slots=True)
class RunDir:
    """Names inside one attempt's folder. Paths are derived when asked for; nothing is created here but by ``create``."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> "RunDir":
        run_dir = cls(root)
        for folder in (root, run_dir.checkpoints, run_dir.artifacts, run_dir.logs, run_dir.scratch):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return run_dir

    @property
    def spec(self) -> Path:
        return self.root / "spec.json"

    @property
    def stop(self) -> Path:
        return self.root / "stop.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def progress(self) -> Path:
        return self.root / "progress.json"

    @property
    def result(self) -> Path:
        return self.root / "result.json"

    @property
    def ranks(self) -> Path:
        return self.logs / "ranks.json"

    @property
    def error(self) -> Path:
        return self.logs / "error.json"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def scratch(self) -> Path:
        """TMPDIR of the ranks."""
        return self.root / "scratch"

    @property
    def reports(self) -> Path:
        """Where a script, which may not write into ``root`` itself, leaves metrics and progress for us."""
        return self.root / "reports"

    @property
    def saved(self) -> Path:
        """Checkpoints that a script has sealed itself."""
        return self.root / "saved"

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:012d}"

    def complete_checkpoints(self) -> list[Path]:
        """Folders that carry a manifest, the highest step first; whether they verify is another question."""
        found = [path.parent for path in self._checkpoint_entries(f"step-*/{MANIFEST}")]
        return sorted(found, key=lambda folder: folder.name, reverse=True)

    def checkpoint_folders(self) -> list[Path]:
        """The same with those that have no manifest any more."""
        return self._checkpoint_entries("step-*")

    def _checkpoint_entries(self, pattern: str) -> list[Path]:
        return [path for root in (self.checkpoints, self.saved) for path in root.glob(pattern)]

    def newest_verified_checkpoint(self) -> tuple[Path | None, list[str]]:
        """The newest checkpoint whose every byte is as its manifest says, and what was wrong with newer ones."""
        findings: list[str] = []
        for path in self.complete_checkpoints():
            try:
                verify(path)
            except ManifestError as error:
                findings.append(str(error))
            else:
                return path, findings
        return None, findings

    def ask_to_stop(self, reason: Literal["pause", "cancel", "drain"]) -> None:
        write_atomically(self.stop, StopFile(reason=reason, asked_at=datetime.now(UTC)))


def write_atomically(path: Path, content: BaseModel | dict[str, Any], *, durable: bool = True) -> None:
    """Replaces ``path`` in one step: a reader sees the old content or the new, never a part."""
    text = content.model_dump_json() if isinstance(content, BaseModel) else json.dumps(content)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    if durable:
        fsync(temporary)
    temporary.replace(path)
    if durable:
        fsync(path.parent)


def read_model(path: Path, model: type[Model], *, root: Path | None = None) -> Model | None:
    """The file as ``model``, or None when it is absent. A file that is there but broken raises ValidationError, a link OSError.

    ``root`` as for ``read_complete_lines``.
    """
    try:
        with open_inside(root or path.parent, path) as file:
            return model.model_validate_json(file.read(MAX_MODEL_BYTES))
    except FileNotFoundError:
        return None


def read_complete_lines(path: Path, offset: int, max_bytes: int = 1 << 20, *, root: Path | None = None) -> tuple[list[bytes], int]:
    """Whole lines from ``offset`` on, and the offset behind the last newline. A torn last line waits for the next call.

    One of more than ``max_bytes`` is passed over, so that it holds nothing up; what is left of it comes as a line.

    ``root``: below it, others may have put links in the way; by default the file's own folder.
    """
    try:
        with open_inside(root or path.parent, path) as file:
            file.seek(offset)
            chunk = file.read(max_bytes)
    except FileNotFoundError:
        return [], offset
    end = chunk.rfind(b"\n") + 1
    if not end and len(chunk) == max_bytes:
        return [], offset + max_bytes
    return chunk[:end].splitlines(), offset + end

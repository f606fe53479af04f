"""Where the tracking server keeps things, and the models of what it writes for others to read."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel


class ParamsFile(BaseModel):
    """``params.json``: parameters as text. Those of another run than the job's own stand under that run's prefix."""

    values: dict[str, str] = {}
    replaced: dict[str, tuple[str, ...]] = {}
    """Values that a later one replaced, oldest first; the newest 16 of each."""


class TagsFile(BaseModel):
    """``tags.json``: tags as text, prefixed like parameters."""

    values: dict[str, str] = {}


class TrackedRun(BaseModel):
    """One MLflow run. The job's own has the empty prefix; ``status`` is what the script said, and ends nothing."""

    run_id: str
    name: str
    prefix: str
    parent_run_id: str | None = None
    status: str
    started_ms: int
    ended_ms: int | None = None


class RunsFile(BaseModel):
    """``runs.json``: every run of the script, the job's own first."""

    runs: tuple[TrackedRun, ...]


class PortFile(BaseModel):
    """``port.json``: where the process ``pid`` listens. One that is started again takes the same port: the script knows no other."""

    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class TrackingFolder:
    """Names below the folder of one attempt. ``journal`` and ``metrics`` are the truth; the ``.json`` files are made of it."""

    root: Path

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def metrics(self) -> Path:
        """Lines as in the run directory's ``metrics.jsonl``, numbered on their own; NaN and the infinities are told as such."""
        return self.root / "metrics.jsonl"

    @property
    def history(self) -> Path:
        """Metric lines of earlier attempts of the job; already shipped, so kept apart."""
        return self.root / "history.jsonl"

    @property
    def params(self) -> Path:
        return self.root / "params.json"

    @property
    def tags(self) -> Path:
        return self.root / "tags.json"

    @property
    def runs(self) -> Path:
        return self.root / "runs.json"

    @property
    def progress(self) -> Path:
        """A ``ProgressFile`` of ``core.run_dir``; absent until something was reported."""
        return self.root / "progress.json"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def incoming(self) -> Path:
        """Artifacts on their way; emptied at every start."""
        return self.root / "incoming"

    @property
    def port(self) -> Path:
        """A ``PortFile``, written when the server listens."""
        return self.root / "port.json"

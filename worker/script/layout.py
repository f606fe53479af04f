"""Where a script's things lie: the folders that SageMaker's containers have below ``/opt/ml``, here below the run directory."""

from dataclasses import dataclass
from pathlib import Path

from core.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class ScriptDirs:
    """Names; ``create`` makes those that a script may expect to find."""

    root: Path

    @classmethod
    def of(cls, run_dir: RunDir) -> "ScriptDirs":
        return cls(run_dir.root / "opt" / "ml")

    def create(self) -> None:
        for folder in (self.config, self.data, self.model, self.output_data, self.intermediate, self.tensorboard, self.checkpoints):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def code(self) -> Path:
        """The working directory of every rank."""
        return self.root / "code"

    @property
    def input(self) -> Path:
        return self.root / "input"

    @property
    def config(self) -> Path:
        return self.input / "config"

    @property
    def data(self) -> Path:
        return self.input / "data"

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def output(self) -> Path:
        return self.root / "output"

    @property
    def output_data(self) -> Path:
        return self.output / "data"

    @property
    def intermediate(self) -> Path:
        return self.output / "intermediate"

    @property
    def tensorboard(self) -> Path:
        return self.output / "tensorboard"

    @property
    def failure(self) -> Path:
        """Where a script may say why it failed."""
        return self.output / "failure"

    @property
    def checkpoints(self) -> Path:
        """Kept from attempt to attempt, file by file."""
        return self.root / "checkpoints"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

"""What a profile is made of while the dataset is being read."""

from dataclasses import dataclass, field

from core.profile import AudioProfile, Caution, ColumnProfile, ImagesProfile, LabelsProfile, WarningCode
from trainer.profile.rows import Ledger


@dataclass(slots=True)
class Sketch:
    """A profiler fills in what its format has. ``unit`` is what a row is, for messages; ``may_repeat``: equal ones are no mistake."""

    ledger: Ledger
    unit: str = "rows"
    may_repeat: bool = False
    columns: list[ColumnProfile] = field(default_factory=list)
    images: ImagesProfile | None = None
    audio: AudioProfile | None = None
    labels: LabelsProfile | None = None
    cautions: list[Caution] = field(default_factory=list)

    def many(self, num: int) -> str:
        """``1 row``, ``1,200 rows``."""
        return f"{num:,} {self.unit if num != 1 else self.unit.removesuffix('s')}"

    def warn(self, code: WarningCode, message: str) -> None:
        self.cautions.append(Caution(code=code, message=message))

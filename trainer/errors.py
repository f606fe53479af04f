"""What can end an attempt on purpose. The class names are vocabulary: ``core.run_dir.REASON_OF_EXCEPTION`` turns them into reasons."""

from collections.abc import Sequence


class InvalidData(Exception):
    """The dataset cannot be trained on; carries everything that is wrong with it, and says one problem a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class LossNotFinite(Exception):
    """The loss or its gradient became NaN or infinite. No checkpoint holds the step that did it."""


class StorageFailed(Exception):
    """A checkpoint or package could not be written, or one to resume from could not be read."""


class PeerLost(Exception):
    """Another rank went away in the middle of a collective: this one is the victim, not the cause."""


class BadRunFile(Exception):
    """``spec.json`` is missing or is not what this version of the trainer understands."""


class ExportDiffers(Exception):
    """The exported program does not compute what the trained model computes."""

"""What a recipe brings to predict with."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from trainer.data.table import READERS
from trainer.data.text.columns import TEXT_NAMES, problem_of_text

Record = Mapping[str, Any]  # one row: column to cell
Axes = dict[str, dict[int, str]]
TABLES = tuple(READERS)


SHORTEST_UNROLLED = 32  # places of a recurrent network in an export, at least, where the model takes as many


class BadInput(Exception):
    """What was asked for cannot be done; the message is one line for the person who asked."""


class Predictor(ABC):
    """Made from a verified package. ``config`` is our part of config.json; ``model`` has the weights, in eval mode, on ``device``.

    ``suffixes`` says which files are inputs: of a folder those are taken, in the order of their names. A recipe whose files
    hold many inputs each (tables, lines) is given the files all the same. Empty: inputs are texts, and of a file each line.

    A dataset is predicted on row by row, by ``answer``: ``tables`` are the suffixes of files whose rows are records. Where
    ``content_suffixes`` names any, a file that ends so is a record as well, with its bytes in the column ``content_column``.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    or_texts: ClassVar[bool] = False  # takes texts as well, where no file of these suffixes is meant
    # What one thing to predict on is, and whether each gets exactly one prediction: for those that are sent one by one.
    takes: ClassVar[Literal["text", "row", "image", "audio"]] = "text"
    one_each: ClassVar[bool] = True
    tables: ClassVar[tuple[str, ...]] = TABLES
    content_suffixes: ClassVar[tuple[str, ...]] = ()
    content_names: ClassVar[tuple[str, ...]] = ()  # how the column of contents may be called beside ``content_column``
    ignored_names: ClassVar[tuple[str, ...]] = ()  # files of a dataset that tell about rows and have none
    reads_arrays: ClassVar[bool] = False  # of images as ``trainer.data.folder`` keeps them

    def __init__(self, folder: Path, config: dict[str, Any], model: nn.Module) -> None:
        self.folder = folder
        self.config = config
        self.model = model
        self.batch_size = 32

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def takes_lines(self) -> bool:
        return self.or_texts or not self.suffixes

    @property
    def content_column(self) -> str:
        """Where a record has the bytes of what it is about, for recipes that read files."""
        return "content"

    @property
    def needed_columns(self) -> Sequence[str]:
        """Columns that a table must have. A single record may lack one: nothing stands in it."""
        return ()

    def table_of(self, root: Path) -> Path:
        """What of a dataset is predicted on: all of it, where a recipe does not say otherwise."""
        return root

    @abstractmethod
    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        """One flat JSON object for each prediction, the input first (``{"input": ..., "label": ..., "probability": ...}``).

        ``inputs`` are files where ``suffixes`` names any, else texts. Raises BadInput for one that cannot be used. Grad is off.
        """

    def answer(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """One JSON object for each record, in their order, without the input. Raises BadInput when one of them cannot be used.

        Here, what a recipe predicts for the text of each record by itself.
        """
        return [without_input(next(iter(self.predict([text_in(record)])))) for record in records]

    def prepare(self, records: Sequence[Record]) -> dict[str, torch.Tensor]:
        """What the model's ``forward`` takes, by name and in its order, on the CPU. Raises BadInput."""
        raise BadInput(f"models of recipe {self.config['recipe']} cannot be exported")

    def axes(self) -> Axes:
        """Of ``prepare``'s tensors, which axes may have any size: as ``trainer.package.Export`` says it."""
        raise BadInput(f"models of recipe {self.config['recipe']} cannot be exported")

    def fixed_sizes(self, records: Sequence[Record]) -> dict[str, dict[int, int]]:
        """Of an export that is tried on ``records``, the sizes of axes beside the batch that cannot be free, by tensor and axis."""
        return {}

    def made_up(self, num: int) -> Sequence[Record]:
        """``num`` records without meaning, of which every input of the model gets something; the same each time."""
        raise BadInput(f"recipe {self.config['recipe']} needs a dataset to try an export on")


def without_input(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "input"}


def usual_column(record: Record, column: str | None, usual: Sequence[str]) -> str | None:
    """``column`` where the record has it, else the first of ``usual``, in any case."""
    if column in record:
        return column
    names = {name.strip().lower(): name for name in reversed(list(record))}
    return next((names[name] for name in usual if name in names), None)


def text_in(record: Record, column: str | None = None) -> str:
    """The text of a record: in ``column``, or where training would look for it. Raises BadInput."""
    found = usual_column(record, column, TEXT_NAMES)
    if found is None:
        raise BadInput(f"there is no column {column or TEXT_NAMES[0]!r}")
    problem = problem_of_text(record[found])
    if problem is not None:
        raise BadInput(f"column {found}: {problem}")
    return str(record[found])

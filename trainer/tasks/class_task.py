"""What tasks share whose rows have one class each, whatever the rows are: the loss, the order of an epoch, scores."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from core.recipes.image_classification import ImageClassificationSpec
from core.recipes.text_classification import TextClassificationSpec
from trainer.class_scores import ClassTally
from trainer.data.balance import balanced_order, class_weights
from trainer.data.limit import rows_to_score
from trainer.data.splits import Splits
from trainer.evaluation import in_row_order
from trainer.losses import CLASS_LOSSES, Loss, loss_function
from trainer.state import Score
from trainer.tasks.task import Rows, Split, Task

Probabilities = npt.NDArray[np.float32]


class Labelled(Protocol):
    """Rows with one class each, by its number."""

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def labels(self) -> npt.NDArray[np.int64]: ...


class ClassTask(Task):
    spec: ImageClassificationSpec | TextClassificationSpec
    data: Labelled
    splits: Splits

    @abstractmethod
    def logits(self, model: nn.Module, rows: Rows) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """This rank's share of ``rows``, batch by batch: (n, K) logits and (n,) classes, without the padding."""

    def in_sequence(self, rows: Rows) -> Rows:
        """The same rows in the order in which they are best looked at."""
        return rows

    def criterion(self) -> Loss:
        knobs, kind = self.spec.training, self.spec.data.class_weights
        weights = class_weights(self.data.labels[self.splits.train], len(self.data.classes), kind) if kind != "none" else None
        return loss_function(
            CLASS_LOSSES[knobs.loss], class_weights=weights, label_smoothing=knobs.label_smoothing, gamma=knobs.focal_gamma
        )

    def order(self, epoch: int) -> Rows:
        if self.spec.data.balanced_sampling:
            return balanced_order(self.data.labels[self.splits.train], seed=self.seed, epoch=epoch)
        return super().order(epoch)

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        rows = rows_to_score(self.splits, split, self.spec.evaluation.limit_rows, seed=self.seed)
        return self._score(model, self.in_sequence(rows), None)

    def answers(self, model: nn.Module, rows: Rows) -> tuple[Score, Probabilities]:
        """A collective: the score on ``rows``, and (rows, K) in their order."""
        sequence = self.in_sequence(rows)
        own = [torch.empty(0, len(self.data.classes), device=self.ranks.device)]
        score = self._score(model, sequence, own)
        probabilities: Probabilities = in_row_order(self.ranks.gather(torch.cat(own)), self.ranks).cpu().numpy()
        places = np.empty(len(rows), dtype=np.int64)
        places[np.argsort(rows)] = np.argsort(sequence)
        return score, probabilities[places]

    def _score(self, model: nn.Module, rows: Rows, keep: list[torch.Tensor] | None) -> Score:
        """Into ``keep`` go the probabilities of this rank's share; only the test has a use for them."""
        tally = ClassTally(len(self.data.classes), self.ranks.device)
        for logits, classes in self.logits(model, rows):
            tally.add(logits, classes)
            if keep is not None:
                keep.append(logits.float().softmax(1))
        return Score(metrics=tally.total(self.ranks), num_rows=len(rows))

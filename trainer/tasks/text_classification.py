"""text-classification: a network on labelled texts or pairs of texts, tested on rows that training never saw."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.recipes.text_classification import TextClassificationSpec
from core.recipes.text_models import Encoder
from trainer.class_scores import ClassTally
from trainer.data.balance import balanced_order, class_weights
from trainer.data.findings import Findings
from trainer.data.limit import limited
from trainer.data.text.augment import Augmentation, Place
from trainer.data.text.base import read_base
from trainer.data.text.columns import read_labelled_texts
from trainer.data.text.prepare import frame_texts, plan_tokenizer
from trainer.data.text.vocabularies import Kind
from trainer.errors import InvalidData
from trainer.evaluation import in_row_order, shares
from trainer.losses import Loss, LossName, loss_function
from trainer.models import build
from trainer.models.encoder import EncoderModel
from trainer.package import write_package
from trainer.state import Run, Score, State
from trainer.tasks.task import Batch, Draw, Outcome, Rows, Split, Task, Tested, plan_evaluation
from trainer.tasks.text_architecture import architecture_of, longest_text, takes_types
from trainer.tasks.text_package import TextResult, package_of

EVALUATION_BATCH = 256  # per rank; no effect on the score but for rounding, so it is no knob
INPUTS = ("ids", "mask", "types")


class TextClassification(Task):
    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, TextClassificationSpec)
        if run.file.data_dir is None:
            raise InvalidData(["this recipe needs a dataset, and spec.json names no folder of one"])
        self.spec, self.ranks, self.knobs = spec, run.ranks, spec.training
        self.findings = Findings()
        self.base = read_base(run.file.base_model_dir)
        self.data = read_labelled_texts(Path(run.file.data_dir), spec.data, seed=spec.seed, findings=self.findings)
        self.splits, self.num_train_rows = self.data.splits, len(self.data.splits.train)
        auto: Kind = "wordpiece" if spec.model.family in ("encoder", "transformers") else "word"
        self.plan = plan_tokenizer(spec.data.tokenizer, self.base, auto=auto, limit=longest_text(spec.model, self.base))
        prepared = frame_texts(run, self.plan, self.data.texts, self.data.pairs, self.splits.train.tolist())
        self.tokenizer, self.ids = prepared.tokenizer, prepared.ids
        if prepared.stats["num_truncated"]:
            self.findings.count(f"texts cut to {self.plan.max_length} tokens", prepared.stats["num_truncated"])
        self.labels = torch.from_numpy(self.data.labels)
        self.augmentation = self._augmentation()
        self.criterion = self._criterion()
        self.evaluation = plan_evaluation(spec.evaluation, metric="accuracy")
        self.uses_types = False

    @property
    def seed(self) -> int:
        return self.spec.seed

    def architecture(self) -> dict[str, Any]:
        model, base, length = self.spec.model, self.base, self.plan.max_length
        return architecture_of(model, base, tokenizer=self.tokenizer, classes=self.data.classes, max_length=length)

    def build_model(self) -> nn.Module:
        model = super().build_model()
        self.uses_types = self.data.pairs is not None and takes_types(model)
        return model

    def order(self, epoch: int) -> Rows:
        if self.spec.data.balanced_sampling:
            return balanced_order(self.data.labels[self.splits.train], seed=self.seed, epoch=epoch)
        return super().order(epoch)

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        """``ids`` and ``mask``, (N, L), with ``types`` where texts are pairs; and ``labels`` (N,)."""
        rows = self.splits.train[rows]
        batch = self.augmentation(self.batch(rows), rows, Place(draw.seed, draw.epoch, draw.step))
        return {**batch, "labels": self.labels[rows]}

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        logits, labels = logits_of(model, batch), batch["labels"]
        num_correct = (logits.argmax(1) == labels).sum()
        return Outcome(self.criterion(logits, labels), float(len(labels)), num_correct=num_correct, logits=logits)

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        rows = self._by_length({"train": self.splits.train, "validation": self._validation_rows(), "test": self.splits.test}[split])
        tally = ClassTally(len(self.data.classes), self.ranks.device)
        for logits, labels in self._logits(model, rows):
            tally.add(logits, labels)
        return Score(metrics=tally.total(self.ranks), num_rows=len(rows))

    def test(self, model: nn.Module) -> Tested:
        rows = self._by_length(self.splits.test)
        tally = ClassTally(len(self.data.classes), self.ranks.device)
        own = [torch.empty(0, len(self.data.classes), device=self.ranks.device)]
        for logits, labels in self._logits(model, rows):
            tally.add(logits, labels)
            own.append(logits.float().softmax(1))
        score = Score(metrics=tally.total(self.ranks), num_rows=len(rows))
        probabilities = in_row_order(self.ranks.gather(torch.cat(own)), self.ranks).cpu().numpy()[np.argsort(rows)]
        result = TextResult(self.data, self.splits.test, probabilities)
        return Tested(score=score, predictions=result.columns(), more=result.details())

    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None:
        write_package(run, model, state, tested, package_of(self, model, tested))

    def flops_per_unit(self) -> float | None:
        """Of encoders; what the others cost is in their embeddings and small layers, and no GPU's peak is the measure of it."""
        if not isinstance(self.spec.model, Encoder):
            return None
        with torch.device("meta"):
            model = build(self.architecture())
        assert isinstance(model, EncoderModel)
        length = round(float(self.ids.lengths()[self.splits.train].mean()))
        return model.flops_per_token(length) * length

    def batch(self, rows: Rows) -> Batch:
        """Rows of the dataset as the model takes them, on the CPU: ``ids`` and ``mask``, and ``types`` where it has a use for them."""
        batch = self.ids.batch(rows, pad_id=self.tokenizer.pad_id, longest=self.plan.max_length)
        return batch if self.uses_types else {name: batch[name] for name in ("ids", "mask")}

    def _augmentation(self) -> Augmentation:
        knobs, tokenizer = self.spec.training, self.tokenizer
        mask_id = next(number for number in (tokenizer.mask_id, tokenizer.unk_id, tokenizer.pad_id) if number is not None)
        return Augmentation(
            dropout=knobs.token_dropout,
            swap=knobs.swap,
            spans=knobs.span_masking,
            special_ids=tokenizer.special_ids,
            pad_id=tokenizer.pad_id,
            mask_id=mask_id,
        )

    def _criterion(self) -> Loss:
        knobs, kind = self.spec.training, self.spec.data.class_weights
        weights = class_weights(self.data.labels[self.splits.train], len(self.data.classes), kind) if kind != "none" else None
        name: LossName = "focal" if knobs.loss == "focal" else "cross_entropy"
        return loss_function(name, class_weights=weights, label_smoothing=knobs.label_smoothing, gamma=knobs.focal_gamma)

    def _validation_rows(self) -> Rows:
        return limited(self.splits.validation, self.spec.evaluation.limit_rows, seed=self.seed)

    def _by_length(self, rows: Rows) -> Rows:
        """Texts of like length share a batch, and little of it is padding."""
        return rows[np.argsort(self.ids.lengths()[rows], kind="stable")]

    def _logits(self, model: nn.Module, rows: Rows) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """This rank's share of ``rows``, batch by batch: (n, K) logits and (n,) labels, without the padding."""
        for positions, num_valid in shares(len(rows), self.ranks, EVALUATION_BATCH):
            batch = self.batch(rows[positions])
            logits = logits_of(model, {name: tensor.to(self.ranks.device) for name, tensor in batch.items()})
            yield logits[:num_valid], self.labels[rows[positions]][:num_valid].to(self.ranks.device)


def logits_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = model(**{name: batch[name] for name in INPUTS if name in batch})
    return logits

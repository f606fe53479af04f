"""text-classification: a network on labelled texts or pairs of texts, tested on rows that training never saw."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from core.recipes.text_classification import TextClassificationSpec
from core.recipes.text_models import Encoder
from trainer.data.findings import Findings
from trainer.data.text.augment import Augmentation, Place
from trainer.data.text.base import read_base
from trainer.data.text.columns import LabelledTexts, read_labelled_texts
from trainer.data.text.prepare import frame_texts, plan_tokenizer
from trainer.data.text.vocabularies import Kind
from trainer.evaluation import shares
from trainer.models import build
from trainer.models.encoder import EncoderModel
from trainer.package import write_package
from trainer.state import Run, State
from trainer.tasks.class_task import ClassTask
from trainer.tasks.task import Batch, Draw, Outcome, Rows, Tested, dataset_of, plan_evaluation
from trainer.tasks.text_architecture import architecture_of, longest_text, takes_types
from trainer.tasks.text_package import TextResult, package_of

EVALUATION_BATCH = 256  # per rank; no effect on the score but for rounding, so it is no knob
INPUTS = ("ids", "mask", "types")


class TextClassification(ClassTask):
    spec: TextClassificationSpec
    data: LabelledTexts

    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, TextClassificationSpec)
        self.spec, self.ranks, self.seed, self.knobs = spec, run.ranks, spec.seed, spec.training
        self.findings = Findings()
        self.base = read_base(run.file.base_model_dir)
        self.data = read_labelled_texts(dataset_of(run), spec.data, seed=spec.seed, findings=self.findings)
        self.splits, self.num_train_rows = self.data.splits, len(self.data.splits.train)
        auto: Kind = "wordpiece" if spec.model.family in ("encoder", "transformers") else "word"
        self.plan = plan_tokenizer(spec.data.tokenizer, self.base, auto=auto, limit=longest_text(spec.model, self.base))
        prepared = frame_texts(run, self.plan, self.data.texts, self.data.pairs, self.splits.train.tolist())
        self.tokenizer, self.ids = prepared.tokenizer, prepared.ids
        if prepared.stats["num_truncated"]:
            self.findings.count(f"texts cut to {self.plan.max_length} tokens", prepared.stats["num_truncated"])
        self.labels = torch.from_numpy(self.data.labels)
        self.augmentation = self._augmentation()
        self.loss_of = self.criterion()
        self.evaluation = plan_evaluation(spec.evaluation, metric="accuracy")
        self.uses_types = False

    def architecture(self) -> dict[str, Any]:
        model, base, length = self.spec.model, self.base, self.plan.max_length
        return architecture_of(model, base, tokenizer=self.tokenizer, classes=self.data.classes, max_length=length)

    def build_model(self) -> nn.Module:
        model = super().build_model()
        self.uses_types = self.data.pairs is not None and takes_types(model)
        return model

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        """``ids`` and ``mask``, (N, L), with ``types`` where texts are pairs; and ``labels`` (N,)."""
        rows = self.splits.train[rows]
        batch = self.augmentation(self.batch(rows), rows, Place(draw.seed, draw.epoch, draw.step))
        return {**batch, "labels": self.labels[rows]}

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        logits, labels = logits_of(model, batch), batch["labels"]
        num_correct = (logits.argmax(1) == labels).sum()
        return Outcome(self.loss_of(logits, labels), float(len(labels)), num_correct=num_correct, logits=logits)

    def test(self, model: nn.Module) -> Tested:
        score, probabilities = self.answers(model, self.splits.test)
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

    def in_sequence(self, rows: Rows) -> Rows:
        """Texts of like length share a batch, and little of it is padding."""
        return rows[np.argsort(self.ids.lengths()[rows], kind="stable")]

    def logits(self, model: nn.Module, rows: Rows) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for positions, num_valid in shares(len(rows), self.ranks, EVALUATION_BATCH):
            batch = self.batch(rows[positions])
            logits = logits_of(model, {name: tensor.to(self.ranks.device) for name, tensor in batch.items()})
            yield logits[:num_valid], self.labels[rows[positions]][:num_valid].to(self.ranks.device)


def logits_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = model(**{name: batch[name] for name in INPUTS if name in batch})
    return logits

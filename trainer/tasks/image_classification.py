"""image-classification: a network on labelled images, tested on rows that training never saw."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.recipes.image_classification import ImageClassificationSpec
from core.recipes.image_models import ResNet9, VisionTransformer
from trainer.data.findings import Findings
from trainer.data.folder import ImageFolder
from trainer.data.image_feed import ImageFeed, images_near
from trainer.data.images.opening import open_images
from trainer.data.leaks import drop_or_report_leaks
from trainer.data.normalise import Normalisation, fit_normalisation
from trainer.data.splits import Splits, make_splits
from trainer.errors import InvalidData
from trainer.evaluation import shares
from trainer.models.cost import training_flops
from trainer.models.stem import stem_for
from trainer.models.vit import patch_for
from trainer.package import write_package
from trainer.state import Run, State
from trainer.tasks.class_task import ClassTask
from trainer.tasks.image_package import ImageResult, package_of
from trainer.tasks.task import Batch, Draw, Outcome, Rows, Tested, dataset_of, plan_evaluation

EVALUATION_BATCH = 256  # per rank; no effect on the score but for rounding, so it is no knob


class ImageClassification(ClassTask):
    spec: ImageClassificationSpec
    data: ImageFolder

    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, ImageClassificationSpec)
        self.spec, self.ranks, self.seed, self.knobs = spec, run.ranks, spec.seed, spec.training
        self.findings = Findings()
        self.data = open_images(run, dataset_of(run), spec.data)
        self.splits = self._split()
        self.num_train_rows = len(self.splits.train)
        self.normalisation = normalisation_of(run) or fit_normalisation(self.data, self.splits.train)
        images = images_near(self.data, run.ranks.device)
        labels = torch.from_numpy(self.data.labels).to(images.device)
        self.feed = ImageFeed(images, labels, len(self.data.classes), spec.training, self.normalisation)
        self.loss_of = self.criterion()
        self.evaluation = plan_evaluation(spec.evaluation, metric="accuracy")

    def architecture(self) -> dict[str, Any]:
        model, (height, width) = self.spec.model, self.data.size
        net = model.model_dump() | {"num_channels": self.data.num_channels, "num_classes": len(self.data.classes)}
        if isinstance(model, VisionTransformer):
            patch = patch_for(height, width) if model.patch == "auto" else model.patch
            net |= {"patch": patch, "image_size": [height, width]}
            if height % patch or width % patch:
                raise InvalidData([f"model.patch {patch} does not divide the sides of images of {height} x {width} pixels"])
        elif not isinstance(model, ResNet9):
            net["stem"] = stem_for(model.stem, height, width)
        return {
            "family": "image-classifier",
            "net": net,
            "mean": list(self.normalisation.mean),
            "deviation": list(self.normalisation.deviation),
            **({"mirrored": True} if self.spec.evaluation.mirrored else {}),
        }

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        return self.feed.training_batch(self.splits.train[rows], draw)

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        logits, targets = model(batch["images"]), batch["targets"]
        if targets.is_floating_point():  # of a mixed image each class counts as much as there is of it
            num_correct = targets.gather(1, logits.argmax(1, keepdim=True)).sum()
        else:
            num_correct = (logits.argmax(1) == targets).sum()
        return Outcome(loss=self.loss_of(logits, targets), weight=float(len(targets)), num_correct=num_correct, logits=logits)

    def test(self, model: nn.Module) -> Tested:
        score, probabilities = self.answers(model, self.splits.test)
        result = ImageResult(self.splits.test, self.data.labels[self.splits.test], probabilities)
        return Tested(score=score, predictions=result.columns(self.data), more=result.details(self.data))

    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None:
        write_package(run, model, state, tested, package_of(self, model, tested))

    def adversarial_input(self, batch: Batch) -> str | None:
        return "images" if batch["images"].is_floating_point() else None

    def flops_per_unit(self) -> float | None:
        return training_flops(self.architecture(), torch.empty(1, self.data.num_channels, *self.data.size, device="meta"))

    def data_report(self) -> dict[str, Any]:
        """What the import and the splitting found, and how many rows each split has."""
        imported, own = self.data.report(), self.findings.report()
        return {
            "rows_dropped": imported.get("rows_dropped", 0) + own["rows_dropped"],
            "counts": imported.get("counts", {}) | own["counts"],
            "problems": imported.get("problems", []) + own["problems"],
            "splits": self.splits.sizes(),
        }

    def _split(self) -> Splits:
        data, knobs, findings = self.data, self.spec.data, self.findings
        splits = make_splits(
            len(data.labels),
            knobs,
            seed=self.spec.seed,
            findings=findings,
            labels=data.labels,
            label_names=data.classes,
            parts=data.parts,
            groups=data.groups(),
            times=data.times(),
        )
        findings.settle(knobs.on_bad_rows)
        splits = drop_or_report_leaks(splits, data.keys(), knobs, findings)
        findings.settle(knobs.on_bad_rows)
        return splits

    def logits(self, model: nn.Module, rows: Rows) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for positions, num_valid in shares(len(rows), self.ranks, EVALUATION_BATCH):
            images, labels = (part.to(self.ranks.device) for part in self.feed.take(rows[positions]))
            yield model(images)[:num_valid], labels[:num_valid]


def normalisation_of(run: Run) -> Normalisation | None:
    """That of the base model, whose weights were trained behind it; None without one, or where it says nothing that fits."""
    path = Path(run.file.base_model_dir) / "config.json" if run.file.base_model_dir is not None else None
    if path is None or not path.is_file():
        return None
    try:
        architecture = json.loads(path.read_text("utf-8"))["architecture"]
        return Normalisation(mean=tuple(architecture["mean"]), deviation=tuple(architecture["deviation"]))
    except (ValueError, KeyError, TypeError):
        return None

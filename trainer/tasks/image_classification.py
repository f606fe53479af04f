"""image-classification: a residual network on labelled images, tested on rows that training never saw."""

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, AdamW, Optimizer

from core.recipes.image_classification import ImageClassificationSpec, Training
from trainer.data.augment import draws, shift_and_flip
from trainer.data.batches import num_steps, rows_of_step
from trainer.data.folder import ImageFolder, load_image_folder
from trainer.data.normalise import fit_normalisation
from trainer.data.splits import split_rows
from trainer.errors import InvalidData
from trainer.image_package import Tested, write_package
from trainer.models.classifier import ImageClassifier
from trainer.models.resnet import ResNet, stem_for
from trainer.schedule import warmup_cosine
from trainer.state import Learner, Run, Score, State
from trainer.tasks.task import BatchOutcome, EvaluationPlan, Split

EVALUATION_BATCH = 256  # per rank; no effect on the score but for rounding, so it is no knob
ON_DEVICE_BYTES = 4 << 30  # a dataset up to this size is copied to the GPU whole

Rows = npt.NDArray[np.int64]


class ImageClassification:
    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, ImageClassificationSpec)
        if run.file.data_dir is None:
            raise InvalidData(["this recipe needs a dataset, and spec.json names no folder of one"])
        self.spec, self.ranks = spec, run.ranks
        self.data = load_image_folder(Path(run.file.data_dir))
        fractions = {"validation_fraction": spec.evaluation.validation_fraction, "test_fraction": spec.evaluation.test_fraction}
        self.splits = split_rows(self.data.labels, seed=spec.seed, **fractions)
        self.normalisation = fit_normalisation(self.data, self.splits.train)
        self.images = images_near(self.data, run.ranks.device)
        self.labels = torch.from_numpy(self.data.labels).to(self.images.device)
        self.tested: Tested | None = None

        training = spec.training
        self.num_epochs: int | None = training.epochs
        self.steps_per_epoch = num_steps(len(self.splits.train), training.batch_size)
        self.log_every_steps = training.log_every_steps
        self.gradient_clip = training.gradient_clip
        plan = spec.evaluation
        self.evaluation: EvaluationPlan | None = EvaluationPlan(plan.every_epochs, plan.patience, plan.min_delta)
        self.leaves_result = True

    def build_model(self) -> nn.Module:
        model, shape = self.spec.model, self.data.images.shape
        net = ResNet(
            depth=model.depth,
            width=model.width,
            stem=stem_for(model.stem, shape[1], shape[2]),
            num_channels=self.data.num_channels,
            num_classes=len(self.data.classes),
            dropout=model.dropout,
        )
        return ImageClassifier(net, mean=self.normalisation.mean, deviation=self.normalisation.deviation)

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        return new_optimizer(model, self.spec.training)

    def learning_rate(self, step: int) -> float:
        training = self.spec.training
        return warmup_cosine(
            step,
            peak=training.learning_rate,
            num_warmup_steps=round(training.warmup_epochs * self.steps_per_epoch),
            num_steps=training.epochs * self.steps_per_epoch,
        )

    def forward(self, model: nn.Module, state: State) -> BatchOutcome:
        images, labels = self._training_batch(state.epoch, state.step_in_epoch)
        with self._precision():
            logits = model(images)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self.spec.training.label_smoothing)
        return BatchOutcome(loss=loss, num_correct=(logits.argmax(1) == labels).sum(), num_samples=len(labels))

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        return self._examine(model, self.splits.validation if split == "validation" else self.splits.test)[0]

    def test(self, model: nn.Module) -> dict[str, float]:
        """Scores the test split and remembers each prediction for the package."""
        rows = self.splits.test
        score, own = self._examine(model, rows)
        predictions = torch.zeros(len(rows), dtype=torch.int64, device=self.ranks.device)
        predictions[self.ranks.rank :: self.ranks.world_size] = own
        self.tested = Tested(score=score, rows=rows, predictions=self.ranks.sum_tensor(predictions).cpu().numpy())
        return score.named("test")

    def package(self, run: Run, learner: Learner, state: State, metrics: dict[str, float]) -> None:
        assert self.tested is not None
        write_package(run, learner, state, spec=self.spec, data=self.data, splits=self.splits, tested=self.tested)

    def _training_batch(self, epoch: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Augmented images as they are stored, (n, H, W, C), and labels, (n)."""
        training, seed = self.spec.training, self.spec.seed
        order = {"seed": seed, "epoch": epoch, "step": step, "batch_size": training.batch_size}
        positions = rows_of_step(len(self.splits.train), **order, rank=self.ranks.rank, world_size=self.ranks.world_size)
        rows = self.splits.train[positions]
        images, labels = self._take(rows)
        words = draws(rows, seed=seed, epoch=epoch)
        return shift_and_flip(images, words, max_shift=training.max_shift, flip=training.flip), labels

    def _take(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        index = torch.from_numpy(rows).to(self.images.device)
        return self.images[index].to(self.ranks.device), self.labels[index].to(self.ranks.device)

    def _examine(self, model: nn.Module, rows: Rows) -> tuple[Score, torch.Tensor]:
        """The score on ``rows`` over all ranks, and the predictions of this rank's share of them, every world_size-th one."""
        own_rows = rows[self.ranks.rank :: self.ranks.world_size]
        predictions = torch.zeros(len(own_rows), dtype=torch.int64, device=self.ranks.device)
        loss, num_correct = 0.0, 0
        # No collective in the loop: ranks may have different numbers of batches.
        for start in range(0, len(own_rows), EVALUATION_BATCH):
            images, labels = self._take(own_rows[start : start + EVALUATION_BATCH])
            with torch.inference_mode(), self._precision():
                logits = model(images)
            loss += functional.cross_entropy(logits.double(), labels, reduction="sum").item()
            predictions[start : start + EVALUATION_BATCH] = logits.argmax(1)
            num_correct += int((logits.argmax(1) == labels).sum())
        total_loss, total_correct = self.ranks.sum([loss, num_correct])
        return Score(loss=total_loss / len(rows), accuracy=total_correct / len(rows), num_samples=len(rows)), predictions

    def _precision(self) -> AbstractContextManager[object]:
        device, wanted = self.ranks.device, self.spec.training.precision
        on_gpu = device.type == "cuda"
        use_bf16 = wanted == "bf16" or (wanted == "auto" and on_gpu and torch.cuda.is_bf16_supported())
        return torch.autocast(device.type, torch.bfloat16, enabled=use_bf16)


def images_near(data: ImageFolder, device: torch.device) -> torch.Tensor:
    """All images, (N, H, W, C): on the GPU when they fit there easily, else as they lie on disk, read when asked for."""
    images = torch.from_numpy(data.images)
    if images.dim() == 3:
        images = images.unsqueeze(-1)
    return images.to(device) if images.nbytes <= ON_DEVICE_BYTES else images


def new_optimizer(model: nn.Module, training: Training) -> Optimizer:
    """Weights of convolutions and linear layers decay; biases and norms, which have one axis, do not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if training.optimizer == "sgd":
        return SGD(groups, lr=training.learning_rate, momentum=training.momentum, nesterov=training.momentum > 0, fused=True)
    return AdamW(groups, lr=training.learning_rate, fused=True)

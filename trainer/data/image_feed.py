"""Batches of images for training: taken from where they lie, augmented, mixed, as a pure function of rows and draw."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from core.recipes.image_classification import Training
from trainer.data import augment
from trainer.data.folder import ImageFolder
from trainer.data.mixing import Mixed, cut_mix, mix_up
from trainer.data.normalise import Normalisation
from trainer.data.randaugment import OPERATIONS, Drawn, rand_augment
from trainer.determinism import mix
from trainer.tasks.task import Batch, Draw

ON_DEVICE_BYTES = 4 << 30  # a dataset up to this size is copied to the GPU whole
MIN_SIDE = 4
# Each kind of draw has bits of its own.
_SHIFT, _CROP, _CUT, _JITTER, _RANDAUGMENT = 0, 1, 2, 3, 8
_MIX_STREAM, _KIND_STREAM = 0x31, 0x32

Rows = npt.NDArray[np.int64]


def images_near(data: ImageFolder, device: torch.device) -> torch.Tensor:
    """All images, (N, H, W, C): on the GPU when they fit there easily, else as they lie on disk, read when asked for."""
    images = torch.from_numpy(data.images)
    if images.dim() == 3:
        images = images.unsqueeze(-1)
    return images.to(device) if images.nbytes <= ON_DEVICE_BYTES else images


@dataclass(frozen=True, slots=True)
class ImageFeed:
    """``images`` (N, H, W, C) bytes and ``labels`` (N,), of all splits, on one device."""

    images: torch.Tensor
    labels: torch.Tensor
    num_classes: int
    knobs: Training
    normalisation: Normalisation

    def take(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Images as they are stored, (n, H, W, C), and labels, (n,)."""
        index = torch.from_numpy(rows).to(self.images.device)
        return self.images[index], self.labels[index]

    def training_batch(self, rows: Rows, draw: Draw) -> Batch:
        """``images``, and ``targets``: classes (n,), or of mixed images how much there is of each, (n, K).

        Images are bytes as they are stored, or normalised planes (n, C, h, w) where they are blended or will be attacked.
        """
        images, labels = self.take(rows)
        images = self._augmented(images, rows, draw)
        kind = self._kind_of_mixing(draw)
        if kind == "cutmix":
            return self._mixed_batch(cut_mix(images, self._random(draw), self.knobs.cutmix), labels)
        if kind == "mixup":
            return self._mixed_batch(mix_up(self.planes(images), self._random(draw), self.knobs.mixup), labels)
        return {"images": self._attackable(images), "targets": labels}

    def planes(self, images: torch.Tensor) -> torch.Tensor:
        """Stored pixels as the model's own normalisation makes them: (n, H, W, C) to (n, C, H, W)."""
        mean, deviation = (
            torch.tensor(v, dtype=torch.float32, device=images.device) for v in (self.normalisation.mean, self.normalisation.deviation)
        )
        return ((images.to(torch.float32) - mean) / deviation).permute(0, 3, 1, 2).contiguous()

    def _augmented(self, images: torch.Tensor, rows: Rows, draw: Draw) -> torch.Tensor:
        knobs, place = self.knobs, {"seed": draw.seed, "epoch": draw.epoch, "step": draw.step}
        if knobs.max_shift or knobs.flip:
            words = augment.draws(rows, **place, stream=_SHIFT)
            images = augment.shift_and_flip(images, words, max_shift=knobs.max_shift, flip=knobs.flip)
        images = self._smaller(images, rows, draw)
        if knobs.randaugment:
            images = self._rand_augmented(images, rows, draw)
        if knobs.colour_jitter:
            factors = torch.stack([augment.uniform(augment.draws(rows, **place, stream=_JITTER + i)) for i in range(3)], dim=1)
            images = augment.jitter(images, 1 + knobs.colour_jitter * (2 * factors - 1), white=self.normalisation.white)
        if knobs.cutout:
            images = augment.cut_out(images, augment.draws(rows, **place, stream=_CUT), side=knobs.cutout)
        return images

    def _smaller(self, images: torch.Tensor, rows: Rows, draw: Draw) -> torch.Tensor:
        plan = self.knobs.progressive
        if plan is None or draw.epoch >= plan.share * self.knobs.epochs:
            return images
        height, width = (max(MIN_SIDE, round(side * plan.size)) for side in images.shape[1:3])
        if plan.how == "resize":
            return augment.shrink(images, height=height, width=width)
        words = augment.draws(rows, seed=draw.seed, epoch=draw.epoch, step=draw.step, stream=_CROP)
        return augment.crop(images, words, height=height, width=width)

    def _rand_augmented(self, images: torch.Tensor, rows: Rows, draw: Draw) -> torch.Tensor:
        place = {"seed": draw.seed, "epoch": draw.epoch, "step": draw.step}
        words = np.stack([augment.draws(rows, **place, stream=_RANDAUGMENT + i) for i in range(self.knobs.randaugment)])
        operations = torch.from_numpy((words % np.uint64(len(OPERATIONS))).astype(np.int64)).to(images.device)
        signs = torch.from_numpy((words >> np.uint64(63)).astype(np.float32) * 2 - 1).to(images.device)
        white = self.normalisation.white
        planes = images.permute(0, 3, 1, 2).to(torch.float32) / white
        planes = rand_augment(planes, Drawn(operations, signs), magnitude=self.knobs.randaugment_magnitude)
        return (planes * white).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def _kind_of_mixing(self, draw: Draw) -> str | None:
        """The same for all shares of a step."""
        kinds = [name for name in ("mixup", "cutmix") if getattr(self.knobs, name)]
        if not kinds:
            return None
        random = np.random.default_rng(mix(draw.seed, _KIND_STREAM, draw.epoch, draw.step))
        return str(random.choice(kinds)) if random.random() < self.knobs.mix_share else None

    def _random(self, draw: Draw) -> np.random.Generator:
        return np.random.default_rng(mix(draw.seed, _MIX_STREAM, draw.epoch, draw.step, draw.part))

    def _mixed_batch(self, mixed: Mixed, labels: torch.Tensor) -> Batch:
        own, partner = (functional.one_hot(part, self.num_classes).to(torch.float32) for part in (labels, labels[mixed.partners]))
        share = mixed.share[:, None]
        return {"images": self._attackable(mixed.images), "targets": share * own + (1 - share) * partner}

    def _attackable(self, images: torch.Tensor) -> torch.Tensor:
        wants_planes = self.knobs.adversarial is not None and not images.is_floating_point()
        return self.planes(images) if wants_planes else images

"""Batches of images are pure functions of rows and draw, whatever is done to them, and only of training images is anything done."""

from typing import Any

import numpy as np
import pytest
import torch

from core.recipes.image_classification import Training
from core.recipes.sections.training import Adversarial
from trainer.data.image_feed import ImageFeed
from trainer.data.normalise import Normalisation
from trainer.models.classifier import ImageClassifier
from trainer.tasks.task import Batch, Draw

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (40, 12, 10, 3), dtype=torch.uint8, generator=GENERATOR)
LABELS = torch.arange(40) % 4
ROWS = np.arange(3, 19)
PLAIN: dict[str, Any] = {"max_shift": 0}
EVERYTHING: dict[str, Any] = {
    "max_shift": 2,
    "flip": True,
    "colour_jitter": 0.4,
    "randaugment": 2,
    "cutout": 4,
    "cutmix": 1.0,
    "mixup": 0.5,
}


def feed(**knobs: Any) -> ImageFeed:
    normalisation = Normalisation(mean=(120.0, 130.0, 140.0), deviation=(60.0, 70.0, 80.0))
    return ImageFeed(IMAGES, LABELS, 4, Training(**{**PLAIN, **knobs}), normalisation)


def draw(epoch: int = 0, step: int = 0, part: int = 0) -> Draw:
    return Draw(seed=1, epoch=epoch, step=step, part=part)


def equal(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(one[key].shape == other[key].shape and torch.equal(one[key], other[key]) for key in one)


def test_without_augmentation_images_are_as_they_are_stored() -> None:
    batch = feed().training_batch(ROWS, draw())

    assert torch.equal(batch["images"], IMAGES[3:19])
    assert torch.equal(batch["targets"], LABELS[3:19])


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_kind_of_augmentation_is_drawn_anew_in_each_step_and_the_same_in_the_same(name: str) -> None:
    one = feed(**{name: EVERYTHING[name]})

    assert equal(one.training_batch(ROWS, draw()), one.training_batch(ROWS, draw()))
    assert not equal(one.training_batch(ROWS, draw()), one.training_batch(ROWS, draw(step=1)))
    assert not equal(one.training_batch(ROWS, draw()), one.training_batch(ROWS, draw(epoch=1)))
    assert not equal(one.training_batch(ROWS, draw()), feed().training_batch(ROWS, draw()))


def test_what_an_image_is_put_through_does_not_depend_on_its_company() -> None:
    one = feed(max_shift=2, flip=True, colour_jitter=0.4, randaugment=2, cutout=4)
    whole, half = one.training_batch(ROWS, draw()), one.training_batch(ROWS[8:], draw(part=1))

    assert torch.equal(whole["images"][8:], half["images"])


def test_all_of_it_at_once_leaves_images_and_shares() -> None:
    one = feed(**EVERYTHING)
    batches = [one.training_batch(ROWS, draw(step=step)) for step in range(12)]

    kinds = {batch["images"].dtype for batch in batches}
    assert kinds == {torch.uint8, torch.float32}  # CutMix pastes bytes, mixup blends planes
    for batch in batches:
        assert torch.allclose(batch["targets"].sum(1), torch.ones(16))


def test_only_the_share_of_steps_that_was_asked_for_mixes() -> None:
    one = feed(cutmix=1.0, mix_share=0.3)
    mixed = [one.training_batch(ROWS, draw(step=step))["targets"].is_floating_point() for step in range(300)]

    assert np.mean(mixed) == pytest.approx(0.3, abs=0.08)
    assert mixed[:50] == [one.training_batch(ROWS, draw(step=step, part=1))["targets"].is_floating_point() for step in range(50)]


@pytest.mark.parametrize("how", ["crop", "resize"])
def test_the_first_epochs_are_on_fewer_pixels(how: str) -> None:
    one = feed(epochs=10, progressive={"share": 0.3, "size": 0.5, "how": how})
    sizes = [tuple(one.training_batch(ROWS, draw(epoch=epoch))["images"].shape[1:3]) for epoch in range(10)]

    assert sizes == [(6, 5)] * 3 + [(12, 10)] * 7


def test_an_attack_gets_planes_as_the_model_itself_would_make_them() -> None:
    one = feed(adversarial=Adversarial(method="fgsm"))
    model = ImageClassifier(torch.nn.Identity(), mean=one.normalisation.mean, deviation=one.normalisation.deviation)

    assert torch.equal(one.training_batch(ROWS, draw())["images"], model.normalise(IMAGES[3:19]))

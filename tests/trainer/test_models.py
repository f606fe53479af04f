"""The residual network and the classifier around it."""

import pytest
import torch
from torch import nn

from core.recipes.image_classification import Training
from trainer.models.classifier import ImageClassifier
from trainer.models.resnet import ResNet, stem_for
from trainer.tasks.image_classification import new_optimizer


def net(depth: int = 8, stem: str = "small", channels: int = 3) -> ResNet:
    torch.manual_seed(0)
    return ResNet(depth=depth, width=4, stem=stem, num_channels=channels, num_classes=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", [8, 14, 20])
def test_depth_counts_the_weighted_layers(depth: int) -> None:
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in net(depth).modules()) == depth


def test_a_depth_that_is_not_6n_plus_2_is_refused() -> None:
    with pytest.raises(ValueError, match="6n"):
        net(10)


@pytest.mark.parametrize(("stem", "size"), [("small", 8), ("large", 64)])
def test_images_become_one_logit_for_each_class(stem: str, size: int) -> None:
    assert net(stem=stem)(torch.zeros(2, 3, size, size)).shape == (2, 10)


def test_auto_keeps_the_resolution_of_small_images() -> None:
    assert [stem_for("auto", 8, 8), stem_for("auto", 224, 64), stem_for("auto", 224, 63), stem_for("large", 8, 8)] == [
        "small",
        "large",
        "small",
        "large",
    ]


def test_a_block_without_weights_is_its_shortcut_subsampled_and_padded() -> None:
    block = net().blocks[1].eval()
    nn.init.zeros_(block.norm2.weight)
    images = torch.rand(2, 4, 8, 8)

    assert torch.equal(block(images), torch.cat([images[:, :, ::2, ::2], torch.zeros(2, 4, 4, 4)], dim=1))


def test_the_classifier_takes_stored_pixels_grey_or_not() -> None:
    grey = ImageClassifier(net(channels=1).eval(), mean=[4.0], deviation=[2.0]).eval()
    stored = torch.randint(0, 17, (3, 8, 8), dtype=torch.uint8)

    by_hand = grey.net(((stored.float() - 4.0) / 2.0).unsqueeze(1))
    assert torch.equal(grey(stored), by_hand)
    assert torch.equal(grey(stored.unsqueeze(-1)), by_hand)


def test_norms_and_biases_do_not_decay() -> None:
    model = net()
    for optimizer in ("sgd", "adamw"):
        decaying, free = new_optimizer(model, Training(optimizer=optimizer)).param_groups  # type: ignore[arg-type]
        assert {p.dim() for p in decaying["params"]} == {2, 4}
        assert {p.dim() for p in free["params"]} == {1}
        assert free["weight_decay"] == 0.0
        assert decaying["weight_decay"] == Training().weight_decay
        assert len(decaying["params"]) + len(free["params"]) == len(list(model.parameters()))

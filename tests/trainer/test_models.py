"""The small residual network and the classifier around every network."""

import pytest
import torch
from torch import nn

from trainer.models import build
from trainer.models.classifier import ImageClassifier
from trainer.models.resnet import ResNet
from trainer.models.stem import stem_for


def net(depth: int = 8, stem: str = "small", channels: int = 3) -> ResNet:
    torch.manual_seed(0)
    return ResNet(depth=depth, width=4, stem=stem, num_channels=channels, num_classes=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", [8, 14, 20])
def test_depth_counts_the_weighted_layers(depth: int) -> None:
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in net(depth).modules()) == depth


def test_a_depth_that_no_paper_has_is_refused() -> None:
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
    assert isinstance(block.norm2, nn.BatchNorm2d)
    nn.init.zeros_(block.norm2.weight)
    images = torch.rand(2, 4, 8, 8)

    assert torch.equal(block(images), torch.cat([images[:, :, ::2, ::2], torch.zeros(2, 4, 4, 4)], dim=1))


def test_the_classifier_takes_stored_pixels_grey_or_not() -> None:
    grey = ImageClassifier(net(channels=1).eval(), mean=[4.0], deviation=[2.0]).eval()
    stored = torch.randint(0, 17, (3, 8, 8), dtype=torch.uint8)

    by_hand = grey.net(((stored.float() - 4.0) / 2.0).unsqueeze(1))
    assert torch.equal(grey(stored), by_hand)
    assert torch.equal(grey(stored.unsqueeze(-1)), by_hand)


def test_the_classifier_takes_planes_that_were_normalised_before() -> None:
    model = ImageClassifier(net().eval(), mean=[4.0, 5.0, 6.0], deviation=[2.0, 3.0, 4.0]).eval()
    stored = torch.randint(0, 256, (3, 8, 8, 3), dtype=torch.uint8)

    assert torch.equal(model(model.normalise(stored)), model(stored))


def test_a_classifier_is_built_from_json_and_says_what_is_its_head() -> None:
    inner = {"family": "resnet", "depth": 8, "width": 4, "num_channels": 1, "num_classes": 3}
    model = build({"family": "image-classifier", "net": inner, "mean": [1.0], "deviation": [2.0]})

    assert isinstance(model, ImageClassifier)
    head = [name for name, _ in model.named_parameters() if name.startswith(model.head_names)]
    assert head == ["net.head.weight", "net.head.bias"]
    assert len(model.blocks) == 3

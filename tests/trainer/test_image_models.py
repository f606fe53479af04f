"""The classic networks have the sizes that are known of them, take images of any size, and drop what they are told to drop."""

from typing import Any

import pytest
import torch
from torch import nn

from trainer.models import build
from trainer.models.classifier import ImageClassifier
from trainer.models.cost import training_flops
from trainer.models.resnet import ResNet
from trainer.models.stochastic_depth import StochasticDepth, rates
from trainer.models.vit import Attention, VisionTransformer, patch_for

VIT_B: dict[str, Any] = {"family": "vit", "patch": 16, "depth": 12, "width": 768, "heads": 12, "image_size": [224, 224]}
SMALL: list[dict[str, Any]] = [
    {"family": "alexnet", "stem": "small", "hidden": 32},
    {"family": "vgg", "depth": 11, "stem": "small", "width": 8, "hidden": 32},
    {"family": "googlenet", "stem": "small"},
    {"family": "resnet", "depth": 18, "width": 8},
    {"family": "resnet", "depth": 50, "width": 8},
    {"family": "resnet", "depth": 8},
    {"family": "resnet9", "width": 4},
]


# 1,000 classes at 224 x 224, as in torchvision's documentation (GoogLeNet there has 3x3 where the paper has 5x5 convolutions).
@pytest.mark.parametrize(
    ("architecture", "num_parameters"),
    [
        ({"family": "alexnet"}, 61_100_840),
        ({"family": "vgg", "depth": 11, "batch_norm": False}, 132_863_336),
        ({"family": "vgg", "depth": 16, "batch_norm": False}, 138_357_544),
        ({"family": "vgg", "depth": 19, "batch_norm": False}, 143_667_240),
        ({"family": "googlenet"}, 7_005_832),
        ({"family": "resnet", "depth": 18, "stem": "large"}, 11_689_512),
        ({"family": "resnet", "depth": 34, "stem": "large"}, 21_797_672),
        ({"family": "resnet", "depth": 50, "stem": "large"}, 25_557_032),
        ({"family": "resnet", "depth": 101, "stem": "large"}, 44_549_160),
        ({"family": "resnet", "depth": 152, "stem": "large"}, 60_192_808),
        (VIT_B, 86_567_656),
    ],
    ids=lambda value: "-".join(str(part) for part in value.values()) if isinstance(value, dict) else None,
)
def test_a_network_has_as_many_parameters_as_everybodys(architecture: dict[str, Any], num_parameters: int) -> None:
    with torch.device("meta"):
        model = build({**architecture, "num_channels": 3, "num_classes": 1000})
        logits = model(torch.empty(2, 3, 224, 224))

    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters
    assert logits.shape == (2, 1000)


def test_the_network_of_nine_layers_has_as_many_parameters_as_pages_for_cifar10() -> None:
    with torch.device("meta"):
        model = build({"family": "resnet9", "num_channels": 3, "num_classes": 10})
    assert sum(parameter.numel() for parameter in model.parameters()) == 6_573_120


@pytest.mark.parametrize("architecture", SMALL, ids=lambda value: f"{value['family']}-{value.get('depth', '')}")
@pytest.mark.parametrize("size", [8, 21, 28])
def test_small_grey_images_of_any_size_become_logits(architecture: dict[str, Any], size: int) -> None:
    with torch.device("meta"):
        model = build({**architecture, "num_channels": 1, "num_classes": 5})
        assert model(torch.empty(2, 1, size, size)).shape == (2, 5)
    assert any(name.startswith("head.") for name, _ in model.named_parameters())
    assert isinstance(model.blocks, nn.Sequential)


def test_a_mirrored_answer_is_the_mean_of_two_and_training_sees_one() -> None:
    torch.manual_seed(0)
    net = {"family": "resnet", "depth": 8, "width": 4, "num_channels": 3, "num_classes": 5}
    plain = ImageClassifier(build(net), mean=[0.5] * 3, deviation=[0.2] * 3)
    mirrored = ImageClassifier(plain.net, mean=[0.5] * 3, deviation=[0.2] * 3, mirrored=True)
    images = torch.rand(3, 3, 9, 9)
    plain.eval(), mirrored.eval()
    assert torch.allclose(mirrored(images), (plain(images) + plain(images.flip(3))) / 2)
    assert torch.allclose(mirrored(images), mirrored(images.flip(3)), atol=1e-6)
    plain.train(), mirrored.train()
    assert torch.equal(mirrored(images), plain(images))


def test_small_images_are_not_shrunk_before_the_first_block() -> None:
    for architecture in SMALL[2:]:
        model = build({**architecture, "num_channels": 1, "num_classes": 5})
        assert isinstance(model.stem, nn.Module)
        assert model.stem(torch.zeros(1, 1, 28, 28)).shape[2:] == (28, 28)


def test_attention_is_torchs_multi_head_attention() -> None:
    torch.manual_seed(0)
    ours, reference = Attention(12, 3, 0.0), nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        reference.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        reference.out_proj.weight.copy_(ours.output.weight)
        reference.out_proj.bias.copy_(ours.output.bias)
    tokens = torch.randn(2, 5, 12)

    torch.testing.assert_close(ours(tokens), reference(tokens, tokens, tokens)[0])


def test_a_patch_is_chosen_that_tiles_the_image_and_leaves_some_tokens() -> None:
    assert [patch_for(side, side) for side in (8, 28, 32, 64, 96, 224, 384, 97)] == [1, 4, 4, 8, 12, 16, 16, 1]
    assert patch_for(28, 42) == 2


def test_a_transformer_takes_smaller_images_than_it_was_made_for_and_knows_where_things_are() -> None:
    torch.manual_seed(0)
    model = VisionTransformer(image_size=(8, 8), patch=2, depth=1, width=8, heads=2, num_channels=1, num_classes=3).eval()
    nn.init.normal_(model.head.weight)
    images = torch.rand(2, 1, 6, 6)

    assert model(images).shape == (2, 3)
    assert not torch.allclose(model(images), model(images.flip(3)))
    with pytest.raises(ValueError, match="do not tile"):
        VisionTransformer(image_size=(9, 8), patch=2, depth=1, width=8, heads=2, num_channels=1, num_classes=3)


def test_low_rank_adapters_find_the_linear_layers_of_attention() -> None:
    net = {"family": "vit", "patch": 2, "depth": 1, "width": 8, "heads": 2, "image_size": [8, 8], "num_channels": 1, "num_classes": 3}
    model = build({"family": "image-classifier", "net": net, "mean": [0.0], "deviation": [1.0]})
    assert isinstance(model, ImageClassifier)
    named = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Linear) and "attention" in name}
    assert set(model.lora_targets) == named


def test_stochastic_depth_leaves_out_whole_rows_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = StochasticDepth(0.25)
    kept = layer(torch.ones(4000, 2, 2))

    assert sorted(set(kept.flatten().tolist())) == pytest.approx([0, 4 / 3])
    assert torch.equal(kept.amin((1, 2)), kept.amax((1, 2)))
    assert kept.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(layer.eval()(torch.ones(3, 2)), torch.ones(3, 2))


def test_deeper_blocks_are_left_out_more_often() -> None:
    model = ResNet(depth=14, num_channels=1, num_classes=2, width=4, stochastic_depth=0.3)

    assert rates(0.3, 6) == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
    assert [module.rate for module in model.modules() if isinstance(module, StochasticDepth)] == pytest.approx(rates(0.3, 6))


def test_the_cost_of_a_step_is_counted_by_hand() -> None:
    net = {"family": "resnet", "depth": 8, "width": 4, "num_channels": 1, "num_classes": 10}
    architecture = {"family": "image-classifier", "net": net, "mean": [0.0], "deviation": [1.0]}
    by_hand = 64 * (9 * 4 + 2 * 9 * 16) + 16 * (9 * 4 * 8 + 9 * 64) + 4 * (9 * 8 * 16 + 9 * 256) + 160

    assert training_flops(architecture, torch.empty(1, 1, 8, 8, device="meta")) == 3 * 2 * by_hand

"""Fine-tuning begins where another package ended, only where it fits, and trains what it was told to."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.errors import InvalidInput
from core.recipes import parse_spec
from core.recipes.sections.fine_tuning import FineTuning
from trainer.errors import InvalidData
from trainer.fine_tuning import WEIGHTS, freeze, merge, start_from
from trainer.models.gpt import GPT
from trainer.tensor_files import write_tensors

SHAPE: dict[str, Any] = {"vocabulary": 11, "context": 8, "num_layers": 3, "num_heads": 2, "width": 8}


class Classifier(nn.Module):
    """Three layers, a batch norm, and a head of any number of classes."""

    head_names = ("head",)

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, width))
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.blocks(x))
        return logits


def packaged(model: nn.Module, folder: Path) -> Path:
    write_tensors(folder / WEIGHTS, model.state_dict())
    return folder


def gpt(**changes: Any) -> GPT:
    torch.manual_seed(0)
    return GPT(**{**SHAPE, **changes})


def trainable(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_every_parameter_and_buffer_is_taken_over(tmp_path: Path) -> None:
    base, model = Classifier(8, 2), Classifier(8, 2)
    base(torch.randn(16, 4))  # so that the buffers are not those of a new model
    taken = start_from(model, packaged(base, tmp_path), None)
    assert all(torch.equal(tensor, base.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert taken.differences == ()


def test_another_architecture_is_refused_by_name_and_changes_nothing(tmp_path: Path) -> None:
    packaged(Classifier(8, 2), tmp_path)
    model = Classifier(16, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InvalidData) as caught:
        start_from(model, tmp_path, None)
    assert caught.value.problems[0] == "the base model has another architecture"
    assert "blocks.0.bias is (8,), not (16,)" in caught.value.problems
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_another_head_stays_fresh_and_is_told(tmp_path: Path) -> None:
    base, model = Classifier(8, 2), Classifier(8, 5)
    taken = start_from(model, packaged(base, tmp_path), None)
    assert torch.equal(model.blocks[0].weight, base.blocks[0].weight)  # type: ignore[arg-type]
    assert taken.told() == "from the base model: 9 tensors; but head.bias is (2,), not (5,), head.weight is (2, 8), not (5, 8)"


@pytest.mark.parametrize("content", [None, b"", b"not a safetensors file"])
def test_a_package_without_usable_weights_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(InvalidData, match=r"no usable model\.safetensors"):
        start_from(Classifier(8, 2), tmp_path, None)


def test_only_the_head_is_trained_when_told_so() -> None:
    model = Classifier(8, 2)
    freeze(model, FineTuning(train="head"))
    assert trainable(model) == {"head.weight", "head.bias"}


def test_the_last_layers_are_trained_with_the_head() -> None:
    model = gpt()
    freeze(model, FineTuning(train="last_layers", num_layers=2))
    assert {name.split(".")[0] for name in trainable(model)} == {"blocks", "norm", "tokens"}
    assert {name.split(".")[1] for name in trainable(model) if name.startswith("blocks")} == {"1", "2"}


def test_what_a_model_lacks_cannot_be_trained() -> None:
    with pytest.raises(ValueError, match="has no attention"):
        freeze(Classifier(8, 2), FineTuning(train="lora"))
    with pytest.raises(ValueError, match="has no repeated blocks"):
        freeze(nn.Linear(2, 2), FineTuning(train="last_layers"))
    with pytest.raises(ValueError, match="has nothing of that kind"):
        freeze(nn.Linear(2, 2), FineTuning(train="head"))


def test_a_frozen_batch_norm_keeps_its_statistics_and_a_trained_one_does_not() -> None:
    model = Classifier(8, 2)
    freeze(model, FineTuning(train="head"))
    model.train()
    model(torch.randn(16, 4))
    assert torch.equal(model.blocks[1].running_mean, torch.zeros(8))  # type: ignore[arg-type]
    free = Classifier(8, 2)
    free.train()
    free(torch.randn(16, 4))
    assert not torch.equal(free.blocks[1].running_mean, torch.zeros(8))  # type: ignore[arg-type]


def test_adapters_change_nothing_at_first_learn_alone_and_merge_into_plain_weights(tmp_path: Path) -> None:
    base, model = gpt(), gpt()
    tokens = torch.randint(11, (4, 8))
    start_from(model, packaged(base, tmp_path), FineTuning(train="lora", lora_rank=2))
    assert torch.equal(model(tokens), base(tokens))
    assert trainable(model)
    assert all("lora_" in name for name in trainable(model)), "an output that is tied to the embeddings stays as it is"

    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
        optimizer.step()
    learned = model(tokens)
    assert not torch.allclose(learned, base(tokens), atol=1e-3)

    again = gpt()
    freeze(again, FineTuning(train="lora", lora_rank=2))
    again.load_state_dict(model.state_dict())
    merge(again, FineTuning(train="lora", lora_rank=2))
    assert again.state_dict().keys() == base.state_dict().keys()
    torch.testing.assert_close(again(tokens), learned, rtol=1e-5, atol=1e-5)
    unchanged = [name for name, tensor in again.state_dict().items() if torch.equal(tensor, base.state_dict()[name])]
    assert set(base.state_dict()) - set(unchanged) == {f"blocks.{i}.attention.{part}.weight" for i in range(3) for part in ("qkv", "out")}


def test_a_fresh_head_learns_beside_the_adapters(tmp_path: Path) -> None:
    model = gpt(vocabulary=13)
    start_from(model, packaged(gpt(), tmp_path), FineTuning(train="lora"))
    assert "tokens.weight" in trainable(model)
    assert "norm.weight" not in trainable(model)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "there is no base_model"),
        ({"base_model": {"path": "/base"}, "training": {"tensor_parallel": 2}, "resources": {"devices_per_node": 2}}, "does not go with"),
    ],
)
def test_a_spec_that_cannot_be_tuned_is_refused(more: dict[str, Any], told: str) -> None:
    spec = {"recipe": "causal-language-modeling", "dataset": {"path": "/data"}, "fine_tuning": {"train": "lora"}, **more}
    with pytest.raises(InvalidInput) as caught:
        parse_spec(json.dumps(spec))
    assert any(told in problem.message for problem in caught.value.problems)

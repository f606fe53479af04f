"""Fine-tuning begins where another job's package ended, and only where it fits."""

from pathlib import Path

import pytest
import torch
from torch import nn

from trainer.base_model import WEIGHTS, start_from
from trainer.errors import InvalidData
from trainer.tensor_files import write_tensors


def small(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def test_every_parameter_and_buffer_is_taken_over(tmp_path: Path) -> None:
    base, model = small(8), small(8)
    base(torch.randn(16, 4))  # so that the buffers are not those of a new model
    write_tensors(tmp_path / WEIGHTS, base.state_dict())
    start_from(model, tmp_path)
    assert all(torch.equal(tensor, base.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_another_architecture_is_refused_by_name_and_changes_nothing(tmp_path: Path) -> None:
    write_tensors(tmp_path / WEIGHTS, small(8).state_dict())
    model = small(16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InvalidData, match=r"another architecture\n0\.bias is \(8,\), not \(16,\)"):
        start_from(model, tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("content", [None, b"", b"not a safetensors file"])
def test_a_package_without_usable_weights_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(InvalidData, match=r"no usable model\.safetensors"):
        start_from(small(8), tmp_path)

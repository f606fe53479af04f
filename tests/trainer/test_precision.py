"""Number formats: what "auto" comes to, what is refused, and what fp16's scaler does when ranks hold parts of a gradient."""

import pytest
import torch

from core.recipes.sections.training import TrainingKnobs
from tests.trainer.on_ranks import OnRanks
from trainer.precision import autocast, chosen_precision, scaler

CPU = torch.device("cpu")


@pytest.mark.parametrize(("precision", "dtype"), [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_lowers_matrix_products_and_not_weights(precision: str, dtype: torch.dtype) -> None:
    knobs = TrainingKnobs.model_validate({"precision": precision})
    layer = torch.nn.Linear(3, 2)
    with autocast(CPU, knobs):
        assert layer(torch.ones(1, 3)).dtype is dtype
    assert layer.weight.dtype is torch.float32
    assert scaler(CPU, knobs) is None


def test_tf32_is_for_one_run_alone() -> None:
    with autocast(CPU, TrainingKnobs(precision="tf32")):
        assert torch.get_float32_matmul_precision() == "high"
    with autocast(CPU, TrainingKnobs(precision="fp32")):
        assert torch.get_float32_matmul_precision() == "highest"


def test_fp16_without_a_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        chosen_precision(CPU, TrainingKnobs(precision="fp16"))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_an_infinite_gradient_on_one_rank_makes_all_skip_the_update(on_ranks: OnRanks, strategy: str) -> None:
    for answer in on_ranks("tests.trainer.programs.scaling:skip", strategy=strategy):
        assert answer["scales"] == [8.0, 8.0, 4.0], "halved once"
        assert answer["moved"] == [True, False]
        assert answer["gradient"] == pytest.approx(1.0), "scaled up and down again"

"""However a model is spread over ranks, it learns what it would learn on one."""

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.recipes.sections.training import TrainingKnobs
from tests.trainer.launching import Launch, WarmParent
from tests.trainer.on_ranks import OnRanks
from tests.trainer.programs.learning import WIDTH, Block, Stack, curves, run_of
from trainer.models.gpt import GPT
from trainer.parallel import Ranks, wrap
from trainer.parallel.recomputing import recompute
from trainer.parallel.strategies import memory_of, share_blocks

CASES: dict[str, dict[str, Any]] = {
    "ddp": {"strategy": "ddp"},
    "fsdp": {"strategy": "fsdp"},
    "ddp accumulated": {"strategy": "ddp", "accumulate": 4},
    "fsdp accumulated": {"strategy": "fsdp", "accumulate": 4},
    "ddp recomputed": {"strategy": "ddp", "activation_checkpointing": True},
    "fsdp recomputed": {"strategy": "fsdp", "activation_checkpointing": True},
    "ddp bf16": {"strategy": "ddp", "precision": "bf16"},
    "fsdp bf16": {"strategy": "fsdp", "precision": "bf16"},
    "gpt": {"model": "gpt", "strategy": "ddp"},
    "gpt fsdp": {"model": "gpt", "strategy": "fsdp"},
}
HEAD_ONLY = {"ddp head": {"strategy": "ddp", "head_only": True}, "fsdp head": {"strategy": "fsdp", "head_only": True}}
SHARED = {"gpt shared": {"model": "gpt", "tensor_parallel": 2}}
PROGRAM = "tests.trainer.programs.learning:curves"
ALONE = Ranks(rank=0, world_size=1, device=torch.device("cpu"))

Answer = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("strategies")


@pytest.fixture(scope="module")
def on_one(folder: Path) -> Answer:
    return curves(ALONE, str(folder / "one"), {**CASES, **HEAD_ONLY})


@pytest.fixture(scope="module")
def on_two(folder: Path, warm_parent: WarmParent) -> Answer:
    on_ranks = OnRanks(Launch(root=folder, parent=warm_parent))
    first, second = on_ranks(PROGRAM, folder=str(folder / "two"), cases={**CASES, **HEAD_ONLY})
    assert first == second, "ranks disagree"
    answer: Answer = first
    return answer


@pytest.mark.parametrize("case", [name for name in CASES if "bf16" not in name] + list(HEAD_ONLY))
def test_two_ranks_learn_as_one_does(on_one: Answer, on_two: Answer, case: str) -> None:
    expect_equal(on_two[case], on_one[case], within=2e-5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_bf16_is_close(on_two: Answer, strategy: str) -> None:
    assert on_two[f"{strategy} bf16"] != on_two[strategy]
    expect_equal(on_two[f"{strategy} bf16"], on_two[strategy], within=0.05)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_micro_batches_add_up_to_the_batch(on_two: Answer, strategy: str) -> None:
    expect_equal(on_two[f"{strategy} accumulated"], on_two[strategy], within=2e-5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_activations_that_are_computed_again_change_no_bit(on_two: Answer, strategy: str) -> None:
    assert on_two[f"{strategy} recomputed"] == on_two[strategy]


def test_frozen_weights_stay(on_two: Answer) -> None:
    before = seeded_sums()
    for strategy in ("ddp", "fsdp"):
        sums = on_two[f"{strategy} head"]["sums"]
        assert {name for name in sums if sums[name] != before[name]} == {"head.weight", "head.bias"}


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_blocks_that_two_ranks_share_learn_as_whole_ones(on_one: Answer, folder: Path, warm_parent: WarmParent, num_ranks: int) -> None:
    on_ranks = OnRanks(Launch(root=folder / f"shared{num_ranks}", parent=warm_parent))
    answers = on_ranks(PROGRAM, num_ranks=num_ranks, tensor_parallel=2, folder=str(folder / f"by{num_ranks}"), cases=SHARED)

    for answer in answers:
        expect_equal(answer["gpt shared"], on_one["gpt"], within=2e-5)


def test_auto_shards_what_does_not_fit(on_ranks: OnRanks, tmp_path: Path) -> None:
    for answer in on_ranks("tests.trainer.programs.learning:choices", folder=str(tmp_path / "run")):
        assert answer == {"small": "ddp", "huge": "fsdp", "as told": "ddp", "held": 12, "whole": 24}


def test_one_rank_shards_nothing(tmp_path: Path) -> None:
    model = Stack()
    assert wrap(run_of(ALONE, tmp_path), TrainingKnobs(strategy="fsdp"), model) is model
    assert memory_of(ALONE.device, 2) == memory_of(ALONE.device, 1) / 2


def test_blocks_that_cannot_be_shared_are_refused() -> None:
    three: Any = SimpleNamespace(size=lambda: 3)
    with pytest.raises(ValueError, match="has no blocks that ranks could share"):
        share_blocks(Stack(), three)
    with pytest.raises(ValueError, match="4 attention heads cannot be shared equally by 3 ranks"):
        share_blocks(GPT(vocabulary=5, context=3, num_layers=1, num_heads=4, width=8), three)


def test_a_copy_of_a_recomputing_block_is_its_own() -> None:
    block = Block()
    recompute(block)
    twin = deepcopy(block)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    x = torch.randn(2, WIDTH)
    assert torch.equal(twin(x), x)
    assert list(block.state_dict()) == list(Block().state_dict())


def expect_equal(answer: dict[str, Any], expected: dict[str, Any], *, within: float) -> None:
    for name in ("losses", "norms"):
        torch.testing.assert_close(torch.tensor(answer[name]), torch.tensor(expected[name]), rtol=within, atol=within)
    assert answer["sums"].keys() == expected["sums"].keys()
    torch.testing.assert_close(
        torch.tensor(list(answer["sums"].values())), torch.tensor(list(expected["sums"].values())), rtol=within, atol=20 * within
    )


def seeded_sums() -> dict[str, float]:
    torch.manual_seed(7)
    return {name: tensor.double().sum().item() for name, tensor in Stack().state_dict().items()}

"""A checkpoint is taken up by any number of ranks, by any strategy, at the very row where it was left."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.launching import Launch, WarmParent
from tests.trainer.on_ranks import OnRanks
from tests.trainer.programs.resuming import BATCH, NUM_ROWS, Remembering
from trainer.data.batches import order_of_epoch

MODULE = "tests.trainer.programs.resuming"

Answers = list[dict[str, Any]]
Learn = Callable[..., Answers]


@pytest.fixture(scope="module")
def learn(tmp_path_factory: pytest.TempPathFactory, warm_parent: WarmParent) -> Learn:
    """Runs the program in a folder of its own; ``after`` are the answers of the run that it goes on with."""
    root = tmp_path_factory.mktemp("checkpoints")
    on_ranks = OnRanks(Launch(root=root, parent=warm_parent))

    def run(num_ranks: int, *, after: Answers | None = None, **arguments: Any) -> Answers:
        folder = root / f"learn{on_ranks.launch.num_made}"
        return on_ranks(
            f"{MODULE}:learn", num_ranks=num_ranks, folder=str(folder), resume_from=after[0]["checkpoint"] if after else None, **arguments
        )

    return run


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_ranks_go_on_bit_for_bit(learn: Learn, strategy: str) -> None:
    """With all that a checkpoint can hold: averages, best weights, batch-norm statistics and random states of each rank."""
    knobs = {"strategy": strategy, "norms": True, "ema": 0.9, "optimizer": "adamw"}
    straight = learn(2, **knobs)
    first = learn(2, stop_after=7, **knobs)
    second = learn(2, after=first, **knobs)

    assert (first[0]["step"], second[0]["step"]) == (7, 10)
    for rank in range(2):
        for name in ("weights", "best", "average", "random"):
            assert second[rank][name] == straight[rank][name], name
    if strategy == "ddp":
        assert straight[0]["weights"] != straight[1]["weights"], "batch-norm statistics are of each rank"


@pytest.mark.parametrize(("strategies"), [("ddp", "ddp", "ddp"), ("fsdp", "ddp", "fsdp"), ("ddp", "fsdp", "ddp")])
def test_from_two_ranks_to_another_number_and_back(learn: Learn, strategies: tuple[str, str, str]) -> None:
    """No row is trained on twice or left out, and the weights are those of a run that nothing happened to."""
    straight = learn(1, strategy="ddp")
    numbers = (2, 1, 2) if strategies[1] == "ddp" else (2, 3, 2)
    first = learn(numbers[0], strategy=strategies[0], stop_after=3)
    second = learn(numbers[1], after=first, strategy=strategies[1], stop_after=4)
    third = learn(numbers[2], after=second, strategy=strategies[2])

    assert rows_by_step([*first, *second, *third]) == rows_by_step(straight) == planned_rows()
    assert [len(first[0]["asked"]), len(second[0]["asked"]), len(third[0]["asked"])] == [3, 4, 3]
    for name in ("weights", "best"):
        assert third[0][name].keys() == straight[0][name].keys()
        for key, tensor in third[0][name].items():
            torch.testing.assert_close(torch.tensor(tensor), torch.tensor(straight[0][name][key]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adafactor", "lion", "muon"])
def test_every_optimiser_goes_on_when_it_is_sharded(learn: Learn, optimizer: str) -> None:
    knobs = {"strategy": "fsdp", "optimizer": optimizer}
    straight, first = learn(2, **knobs), learn(2, stop_after=5, **knobs)

    assert learn(2, after=first, **knobs)[0]["weights"] == straight[0]["weights"]


def test_statistics_of_the_ranks_become_their_mean(learn: Learn) -> None:
    first = learn(2, stop_after=3, norms=True)
    second = learn(1, after=first, norms=True, stop_after=0, max_steps=3)

    name = "blocks.3.0.running_mean"
    mean = (torch.tensor(first[0]["weights"][name]) + torch.tensor(first[1]["weights"][name])) / 2
    torch.testing.assert_close(torch.tensor(second[0]["weights"][name]), mean)


def test_what_training_does_after_a_save_is_not_in_it(on_ranks: OnRanks, tmp_path: Path) -> None:
    for answer in on_ranks(f"{MODULE}:save_twice", folder=str(tmp_path / "run")):
        assert answer["loaded"] == answer["saved"]
        assert 0 <= answer["stalls"][1] <= 1, "the same step is not written again"
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000000000001"]
    assert answer["told"] == 1


def test_a_write_that_fails_behind_training_fails_every_rank(on_ranks: OnRanks, tmp_path: Path) -> None:
    answers = on_ranks(f"{MODULE}:fail_to_write", folder=str(tmp_path / "run"))

    assert answers[0] == answers[1]
    assert answers[0]["said"].startswith("a checkpoint could not be prepared: ")
    assert ".tmp-step-000000000002-1" in answers[0]["said"]
    assert answers[0]["left"] == ["step-000000000001"]


def test_no_file_of_a_checkpoint_is_a_pickle(learn: Learn) -> None:
    folder = Path(learn(2, stop_after=2, norms=True)[0]["checkpoint"])

    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in files:
        assert path.suffix == ".json" or load_file(path), path
    assert len([path for path in files if path.parent.name == "tensors"]) == 2, "each rank wrote its part"


def test_shared_blocks_are_taken_up_by_other_numbers_of_ranks(on_ranks: OnRanks, tmp_path: Path) -> None:
    program = "tests.trainer.programs.sharing:go_on"
    straight = on_ranks(program, num_ranks=4, tensor_parallel=2, folder=str(tmp_path / "four"))[0]
    again = on_ranks(program, num_ranks=4, tensor_parallel=2, folder=str(tmp_path / "again"), resume_from=straight["checkpoint"])
    alone = on_ranks(program, num_ranks=1, folder=str(tmp_path / "one"), resume_from=straight["checkpoint"])

    assert [answer["losses"] for answer in again] == [straight["losses"]] * 4
    torch.testing.assert_close(torch.tensor(alone[0]["losses"]), torch.tensor(straight["losses"]), rtol=2e-5, atol=2e-5)


def rows_by_step(answers: Answers) -> dict[tuple[int, int], list[int]]:
    """(epoch, step) to all rows that any rank was asked for, sorted."""
    steps: dict[tuple[int, int], list[int]] = {}
    for answer in answers:
        for epoch, step, *rows in answer["asked"]:
            steps.setdefault((epoch, step), []).extend(rows)
    return {place: sorted(rows) for place, rows in sorted(steps.items())}


def planned_rows() -> dict[tuple[int, int], list[int]]:
    """What two epochs of the order are, cut into batches."""
    orders = [order_of_epoch(NUM_ROWS, seed=Remembering.seed_number, epoch=epoch).reshape(-1, BATCH) for epoch in range(2)]
    return {(epoch, step): sorted(rows.tolist()) for epoch, order in enumerate(orders) for step, rows in enumerate(order)}

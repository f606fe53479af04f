"""What one rank knows after a collective is what all of them had."""

import torch

from tests.trainer.on_ranks import OnRanks
from tests.trainer.programs.gathering import TEXTS, everything
from trainer.parallel import Ranks


def test_rows_and_texts_of_all_ranks_arrive_in_the_order_of_the_ranks(on_ranks: OnRanks) -> None:
    answers = on_ranks("tests.trainer.programs.gathering:everything", num_ranks=3)

    assert [answer.pop("data") for answer in answers] == [[0, 3], [1, 3], [2, 3]]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0] == {
        "floats": [[100, 101, 102], [200, 201, 202], [203, 204, 205]],
        "numbers": [0, 0, 1, 2, 2],
        "booleans": [True, False, False, False, False, False],
        "halves": [[[0.5], [0.5]], [[1.5], [1.5]], [[2.5], [2.5]]],
        "none": [0, 7],
        "texts": [text for texts in TEXTS for text in texts],
        "no texts": [],
        "sum": [3.0, 3.0],
    }


def test_ranks_of_one_tensor_parallel_group_count_as_one(on_ranks: OnRanks) -> None:
    answers = on_ranks("tests.trainer.programs.gathering:everything", num_ranks=4, tensor_parallel=2)

    assert [answer["data"] for answer in answers] == [[0, 2], [0, 2], [1, 2], [1, 2]]
    assert all(answer["numbers"] == [0, 0, 1] for answer in answers)
    assert all(answer["texts"] == [*TEXTS[0], *TEXTS[1]] for answer in answers)
    assert all(answer["sum"] == [2.0, 1.0] for answer in answers)


def test_one_rank_alone_hears_itself() -> None:
    answer = everything(Ranks(rank=0, world_size=1, device=torch.device("cpu")))

    assert answer["numbers"] == [0, 0]
    assert answer["texts"] == TEXTS[0]

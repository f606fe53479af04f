"""Ranks tell each other rows and texts."""

from typing import Any

import torch

from trainer.parallel import Ranks

TEXTS = [["", "Zürich"], ["日本", "a\x00b", "\udc80"], []]


def everything(ranks: Ranks) -> dict[str, Any]:
    """Rows of several types, a different number on each rank; data ranks count, not ranks."""
    number = ranks.data_rank
    rows = torch.arange(3 * number, dtype=torch.float32).view(-1, 3) + 100 * number
    return {
        "data": [ranks.data_rank, ranks.data_world],
        "floats": ranks.gather(rows).tolist(),
        "numbers": ranks.gather(torch.full((2 - number % 2,), number)).tolist(),
        "booleans": ranks.gather(torch.tensor([number == 0] * (number + 1))).tolist(),
        "halves": ranks.gather(torch.full((1, 2, 1), 0.5 + number, dtype=torch.bfloat16)).float().tolist(),
        "none": list(ranks.gather(torch.empty(0, 7)).shape),
        "texts": ranks.gather_texts(TEXTS[number]),
        "no texts": ranks.gather_texts([]),
        "sum": ranks.sum([1.0, float(number)]),
    }

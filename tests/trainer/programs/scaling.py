"""A step of fp16's scaler on ranks of which one sees an infinite gradient. On CPUs the arithmetic stays float32."""

import tempfile
from typing import Any

import torch
from torch import nn

from core.recipes.sections.training import TrainingKnobs
from tests.trainer.programs.learning import run_of
from trainer.parallel import Ranks, full_weights, wrap
from trainer.shards import own_part


def skip(ranks: Ranks, strategy: str) -> dict[str, Any]:
    """The first step is an ordinary one; in the second the input of one rank is infinite."""
    run = run_of(ranks, tempfile.mkdtemp())
    model = nn.Linear(1, 4, bias=False)
    wrapped = wrap(run, TrainingKnobs.model_validate({"strategy": strategy}), model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scales, moved, gradient = [scaler.get_scale()], [], 0.0
    for is_broken in (False, True):
        optimizer.zero_grad()
        inputs = torch.full((2, 1), torch.inf if is_broken and ranks.is_first else 1.0)
        scaler.scale(wrapped(inputs).sum(dim=1).mean()).backward()
        before = full_weights(model)["weight"].clone()
        scaler.unscale_(optimizer)
        gradient = gradient or own_part(model.weight.grad)[0].item()
        scaler.step(optimizer)
        scaler.update()
        moved.append(not torch.equal(full_weights(model)["weight"], before))
        scales.append(scaler.get_scale())
    return {"scales": scales, "moved": moved, "gradient": gradient}

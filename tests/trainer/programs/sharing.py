"""A language model learns on ranks that share its blocks, leaves a checkpoint, and goes on from it."""

from pathlib import Path
from typing import Any

import torch

from core.recipes.sections.training import TrainingKnobs
from tests.trainer.programs.learning import run_of, step
from trainer.checkpoint import Checkpointer
from trainer.models.gpt import GPT
from trainer.optim import new_optimizer
from trainer.parallel import Ranks, wrap
from trainer.state import Learner, State


def go_on(ranks: Ranks, folder: str, resume_from: str | None = None) -> dict[str, Any]:
    """Losses of the third and fourth step, the first two either taken here or read."""
    run, knobs = run_of(ranks, folder), TrainingKnobs(learning_rate=0.01, tensor_parallel=ranks.tensor_parallel)
    torch.manual_seed(7)
    model = GPT(vocabulary=13, context=6, num_layers=2, num_heads=4, width=16)
    wrapped = wrap(run, knobs, model)
    learner = Learner(model=model, wrapped=wrapped, optimizer=new_optimizer(model, knobs))
    checkpoints = Checkpointer(run)
    if resume_from is None:
        for number in range(2):
            step(run, knobs, learner, number)
        checkpoints.save(learner, State(step=2), wait=True)
    else:
        checkpoints.load(learner, Path(resume_from))
    return {"losses": [step(run, knobs, learner, number)[0] for number in (2, 3)], "checkpoint": str(run.dir.checkpoint(2))}

"""What learns: a model with its base weights, spread over the ranks, its optimiser and average; and the plain copy for the package."""

from pathlib import Path

import torch
from torch import nn

from trainer.base_model import WEIGHTS as WEIGHTS
from trainer.base_model import start_from
from trainer.determinism import mix, seed_everything
from trainer.parallel import wrap
from trainer.precision import scaler
from trainer.regularise.averaging import WeightAverage
from trainer.state import Learner, Run, Tensors
from trainer.tasks.task import Task


def new_learner(run: Run, task: Task) -> Learner:
    """Seeds alike on all ranks for the weights, and apart for what each rank draws while it trains."""
    spec, knobs = run.file.spec, task.knobs
    seed_everything(mix(spec.seed))
    model = starting_model(run, task).to(run.ranks.device)
    if knobs.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    wrapped = wrap(run, knobs, model)
    optimizer = task.build_optimizer(model)  # after wrap: sharding replaces the parameters
    averages = knobs.ema is not None or knobs.swa_share is not None
    seed_everything(mix(spec.seed, 1 + run.ranks.data_rank))
    return Learner(
        model=model,
        wrapped=wrapped,
        optimizer=optimizer,
        average=WeightAverage(model, ema=knobs.ema, swa_share=knobs.swa_share) if averages else None,
        scaler=scaler(run.ranks.device, knobs),
    )


def starting_model(run: Run, task: Task) -> nn.Module:
    """With the weights of the base model where there is one, and only what is to be trained left trainable."""
    model = task.build_model()
    fine_tuning = run.file.spec.fine_tuning
    if run.file.base_model_dir is not None:
        start_from(model, Path(run.file.base_model_dir), fine_tuning)
    return model


def plain_model(run: Run, task: Task, weights: Tensors) -> nn.Module:
    """A model on the CPU with these full weights, as it is packaged: nothing sharded, no adapters, in eval mode."""
    model = task.build_model()
    model.load_state_dict(weights)
    return model.eval()

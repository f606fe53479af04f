"""What learns: a model with its base weights, spread over the ranks, its optimiser and average; and the plain copy for the package."""

from pathlib import Path

import torch
from torch import nn

from core.recipes.sections.fine_tuning import FineTuning
from trainer.determinism import mix, seed_everything
from trainer.fine_tuning import WEIGHTS as WEIGHTS
from trainer.fine_tuning import freeze, merge, start_from
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
    if run.file.base_model_dir is not None:
        taken = start_from(model, Path(run.file.base_model_dir), tuning_of(run))
        run.report.line(taken.told())
    return model


def plain_model(run: Run, task: Task, weights: Tensors) -> nn.Module:
    """A model on the CPU with these full weights, as it is packaged: nothing sharded, no adapters, in eval mode."""
    model, fine_tuning = task.build_model(), tuning_of(run)
    if fine_tuning is not None:
        freeze(model, fine_tuning)  # the weights are named after the adapters beside them
    model.load_state_dict(weights)
    merge(model, fine_tuning)
    return model.eval()


def tuning_of(run: Run) -> FineTuning | None:
    """What of a base model is trained on; None where there is no base model, or all of it is."""
    fine_tuning = run.file.spec.fine_tuning
    return fine_tuning if isinstance(fine_tuning, FineTuning) and run.file.base_model_dir is not None else None

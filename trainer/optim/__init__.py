"""Optimisers by name. Every one is a ``torch.optim.Optimizer`` whose memory is tensors, so that a checkpoint holds all of it.

Groups carry ``rate_share``: the engine gives each group the scheduled rate times its share.
"""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from core.recipes.sections.training import OptimizerName, TrainingKnobs
from trainer.optim.adafactor import Adafactor
from trainer.optim.groups import hidden_matrices, owned_parameters
from trainer.optim.lion import Lion
from trainer.optim.muon import MuonWithAdamW
from trainer.shards import is_sharded

Groups = list[dict[str, Any]]


def new_optimizer(model: nn.Module, knobs: TrainingKnobs) -> Optimizer:
    """The optimiser of a run's parameters that require a gradient; ValueError when there are none.

    Its rate is the peak, or 0 where a range test has yet to find that: the engine sets it before each step.
    """
    rate = 0.0 if knobs.learning_rate == "auto" else knobs.learning_rate
    return OPTIMIZERS[knobs.optimizer](_groups(model, knobs), rate, knobs)


def _groups(model: nn.Module, knobs: TrainingKnobs) -> Groups:
    """None of them empty: matrices for Muon before the others, decaying before not decaying.

    Parameters that are spread over different ranks (some by FSDP alone, some by tensor parallelism too) are kept apart:
    fused steps cannot take them together.
    """
    matrices = hidden_matrices(model) if knobs.optimizer == "muon" else set()
    members: dict[tuple[bool, bool, Any], list[nn.Parameter]] = {}
    for owned in owned_parameters(model):
        mesh = getattr(owned.parameter, "device_mesh", None)
        members.setdefault((owned.parameter in matrices, owned.decays, mesh), []).append(owned.parameter)
    return [
        {
            "params": parameters,
            "weight_decay": knobs.weight_decay if decays else 0.0,
            "rate_share": 1.0,
            **({"uses_muon": uses_muon} if knobs.optimizer == "muon" else {}),
        }
        for (uses_muon, decays, _), parameters in sorted(members.items(), key=lambda item: item[0][:2], reverse=True)
    ]


def _sgd(groups: Groups, rate: float, knobs: TrainingKnobs) -> Optimizer:
    fused = not any(is_sharded(parameter) for group in groups for parameter in group["params"])  # DTensor has no fused SGD
    return SGD(groups, lr=rate, momentum=knobs.momentum, nesterov=knobs.momentum > 0, fused=fused or None)


def _adam(groups: Groups, rate: float, knobs: TrainingKnobs) -> Optimizer:
    return Adam(groups, lr=rate, betas=_betas(knobs), fused=True)


def _adamw(groups: Groups, rate: float, knobs: TrainingKnobs) -> Optimizer:
    return AdamW(groups, lr=rate, betas=_betas(knobs), fused=True)


def _adafactor(groups: Groups, rate: float, knobs: TrainingKnobs) -> Optimizer:
    return Adafactor(groups, lr=rate)


def _lion(groups: Groups, rate: float, knobs: TrainingKnobs) -> Optimizer:
    return Lion(groups, lr=rate, betas=_betas(knobs))


def _muon(groups: Groups, rate: float, knobs: TrainingKnobs) -> Optimizer:
    return MuonWithAdamW(groups, lr=rate, momentum=knobs.momentum, betas=_betas(knobs))


def _betas(knobs: TrainingKnobs) -> tuple[float, float]:
    usual = 0.99 if knobs.optimizer == "lion" else 0.999
    return knobs.beta1, usual if knobs.beta2 is None else knobs.beta2


OPTIMIZERS: dict[OptimizerName, Callable[[Groups, float, TrainingKnobs], Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
    "adafactor": _adafactor,
    "lion": _lion,
    "muon": _muon,
}

"""What a checkpoint is made of, as values: taken from a learner at one moment, and put back into another."""

import json
from dataclasses import dataclass
from typing import Any

import torch

from trainer.checkpoint.optimizer_state import memory_numbers, memory_tensors, set_numbers
from trainer.determinism import capture_random_state
from trainer.parallel import Ranks
from trainer.shards import is_sharded
from trainer.state import Learner, Run, State
from trainer.tensor_files import Tensors

MODEL, OPTIMIZER, AVERAGE, BEST = "model.", "optimizer.", "average.", "best."
RANDOM = "random."


@dataclass(frozen=True, slots=True)
class Contents:
    """Copies on the CPU that training cannot change any more. ``shared`` are of the whole run, ``own`` of this rank: buffers
    hold statistics of what it saw, and so do their averages and their best. Of what all ranks have alike each copies a part.
    """

    state: State
    shared: Tensors
    learner: dict[str, Any]
    own: Tensors
    own_random: dict[str, Any]


def take(run: Run, learner: Learner, state: State) -> Contents:
    """All that training waits for when a checkpoint is written."""
    random_tensors, random_others = capture_random_state(run.ranks.device)
    return Contents(
        state=state.model_copy(deep=True),
        shared={name: _copy(tensor) for name, tensor in part_of(run.ranks, shared_tensors(learner)).items()},
        learner={
            "optimizer": memory_numbers(learner.model, learner.optimizer),
            "average": None if learner.average is None else learner.average.num_updates,
            "scaler": None if learner.scaler is None else learner.scaler.state_dict(),
        },
        own={
            **{f"{RANDOM}{name}": tensor for name, tensor in random_tensors.items()},
            **{name: _copy(tensor) for name, tensor in own_tensors(learner).items()},
        },
        own_random=json.loads(json.dumps(random_others)),
    )


def shared_tensors(learner: Learner) -> Tensors:
    """By their names in a checkpoint; not copies. On every rank the same, or its shards of the same."""
    own = own_tensors(learner)
    return {name: tensor for name, tensor in _tensors(learner).items() if name not in own}


def part_of(ranks: Ranks, tensors: Tensors) -> Tensors:
    """What this rank has to write: its shards, and its share in bytes of the tensors that every rank has whole."""
    num_bytes = [0] * ranks.world_size
    part: Tensors = {}
    for name, tensor in tensors.items():
        writer = ranks.rank if is_sharded(tensor) else num_bytes.index(min(num_bytes))
        if writer == ranks.rank:
            part[name] = tensor
        if not is_sharded(tensor):
            num_bytes[writer] += tensor.nbytes
    return part


def own_tensors(learner: Learner) -> Tensors:
    """Those of buffers, likewise."""
    buffers = {name for name, _ in learner.model.named_buffers()}
    return {name: tensor for name, tensor in _tensors(learner).items() if name.split(".", 1)[1] in buffers}


def _tensors(learner: Learner) -> Tensors:
    tensors = _named(MODEL, learner.weights()) | _named(OPTIMIZER, memory_tensors(learner.model, learner.optimizer))
    if learner.average is not None:
        tensors |= _named(AVERAGE, learner.average.tensors)
    if learner.best_weights is not None:
        tensors |= _named(BEST, learner.best_weights)
    return tensors


def put_numbers(learner: Learner, numbers: dict[str, Any]) -> None:
    set_numbers(learner.model, learner.optimizer, numbers["optimizer"])
    if learner.scaler is not None and numbers["scaler"] is not None:
        learner.scaler.load_state_dict(numbers["scaler"])


def _named(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """Contiguous, which safetensors asks for; a DTensor stays one."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)

"""Reading a checkpoint: every rank takes its part of the tensors, whatever number of ranks wrote them."""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load

from core.manifest import ManifestError, read_manifest, verify
from trainer.checkpoint.contents import BUFFER, OPTIMIZER, RANDOM, put_numbers, shared_tensors
from trainer.checkpoint.optimizer_state import make_memory, owner_of
from trainer.checkpoint.writing import TENSORS
from trainer.determinism import mix, restore_random_state, seed_everything
from trainer.errors import StorageFailed
from trainer.state import Learner, Run, State
from trainer.tensor_files import Tensors, read_tensors


def read(run: Run, learner: Learner, folder: Path) -> State:
    """Puts a learner back as it was; StorageFailed, on every rank, when the folder is not what was sealed. A collective."""
    _verify(run, folder)
    try:
        num_writers = int(read_manifest(folder).meta["world_size"])
        state = State.model_validate_json((folder / "state.json").read_bytes())
        numbers = json.loads((folder / "learner.json").read_bytes())
        _read_shared(learner, folder / TENSORS, has_best=state.best is not None)
        _read_own(run, learner, folder, num_writers, state)
    except (ManifestError, ValidationError, ValueError, LookupError, OSError, SafetensorError) as error:
        raise StorageFailed(f"cannot resume from {folder.name}: {error}") from error
    put_numbers(learner, numbers)
    return state


def _verify(run: Run, folder: Path) -> None:
    """The first rank looks at every byte for all of them."""
    findings = []
    if run.ranks.is_first:
        try:
            verify(folder)
        except ManifestError as error:
            findings = [str(error)]
    if found := run.ranks.gather_texts(findings):
        raise StorageFailed(f"cannot resume from {folder.name}: {found[0]}")


def _read_shared(learner: Learner, folder: Path, *, has_best: bool) -> None:
    """In place: model, optimiser, average and best weights keep the places that this run's strategy gave them."""
    reader = HuggingFaceStorageReader(str(folder))
    names = reader.read_metadata().state_dict_metadata
    owners = {owner_of(name.removeprefix(OPTIMIZER)) for name in names if name.startswith(OPTIMIZER)}
    make_memory(learner.model, learner.optimizer, owners)
    if has_best:
        learner.best_weights = {name: torch.empty_like(tensor) for name, tensor in learner.weights().items()}
    try:
        load(shared_tensors(learner), storage_reader=reader, no_dist=True)
    except CheckpointException as error:
        raise ValueError(str(next(iter(error.failures.values()))[0])) from error


def _read_own(run: Run, learner: Learner, folder: Path, num_writers: int, state: State) -> None:
    """Random states and buffers of the same rank of the run that was. Where the number of ranks has changed no rank is the same:
    buffers become the mean of all, and random numbers start anew, from (seed, rank, step)."""
    rank, device = run.ranks.rank, run.ranks.device
    if num_writers == run.ranks.world_size:
        own = read_tensors(folder / f"rank-{rank}.safetensors")
        _set_buffers(learner, _of(BUFFER, own))
        restore_random_state(device, _of(RANDOM, own), json.loads((folder / f"rank-{rank}.json").read_bytes()))
        return
    everybody = [_of(BUFFER, read_tensors(folder / f"rank-{writer}.safetensors")) for writer in range(num_writers)]
    _set_buffers(learner, {name: _mean([buffers[name] for buffers in everybody]) for name in everybody[0]})
    seed_everything(mix(run.file.spec.seed, 1 + run.ranks.data_rank, state.step))


def _set_buffers(learner: Learner, buffers: Tensors) -> None:
    current: dict[str, Any] = dict(learner.model.named_buffers())
    for name, buffer in buffers.items():
        current[name].copy_(buffer)


def _mean(tensors: list[torch.Tensor]) -> torch.Tensor:
    """In the type of the first; of whole numbers and truths the first itself."""
    return torch.stack(tensors).mean(dim=0) if tensors[0].is_floating_point() else tensors[0]


def _of(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

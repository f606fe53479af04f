"""Reading a checkpoint: every rank takes its part of the tensors, whatever number of ranks wrote them."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load

from core.manifest import ManifestError, read_manifest, verify
from trainer.checkpoint.contents import BEST, OPTIMIZER, RANDOM, own_tensors, put_numbers, shared_tensors
from trainer.checkpoint.optimizer_state import make_memory, owner_of
from trainer.checkpoint.writing import TENSORS
from trainer.determinism import mix, restore_random_state, seed_everything
from trainer.errors import StorageFailed
from trainer.state import Learner, Run, State
from trainer.tensor_files import read_tensors


def read(run: Run, learner: Learner, folder: Path) -> State:
    """Puts a learner back as it was; StorageFailed, on every rank, when the folder is not what was sealed. A collective."""
    _verify(run, folder)
    try:
        num_writers = int(read_manifest(folder).meta["world_size"])
        state = State.model_validate_json((folder / "state.json").read_bytes())
        numbers = json.loads((folder / "learner.json").read_bytes())
        reader = HuggingFaceStorageReader(str(folder / TENSORS))
        _lay_out(learner, reader.read_metadata().state_dict_metadata, numbers["average"])
        _read_shared(learner, reader)
        _read_own(run, learner, folder, num_writers, state.step)
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


def _lay_out(learner: Learner, names: Iterable[str], num_updates: int | None) -> None:
    """Makes a place for everything that was saved; what lies there is replaced afterwards."""
    make_memory(learner.model, learner.optimizer, {owner_of(name.removeprefix(OPTIMIZER)) for name in names if name.startswith(OPTIMIZER)})
    weights = learner.weights()
    if any(name.startswith(BEST) for name in names):
        learner.best_weights = {name: torch.empty_like(tensor) for name, tensor in weights.items()}
    if learner.average is not None and num_updates:
        averages = {name: torch.empty_like(tensor) for name, tensor in weights.items() if tensor.is_floating_point()}
        learner.average.load(averages, num_updates)


def _read_shared(learner: Learner, reader: HuggingFaceStorageReader) -> None:
    """In place: everything keeps the ranks and devices that this run's strategy gave it."""
    try:
        load(shared_tensors(learner), storage_reader=reader, no_dist=True)
    except CheckpointException as error:
        raise ValueError(str(next(iter(error.failures.values()))[0])) from error


@torch.no_grad()
def _read_own(run: Run, learner: Learner, folder: Path, num_writers: int, step: int) -> None:
    """Random states and buffers of the same rank of the run that was. Where the number of ranks has changed no rank is the same:
    buffers become the mean of all, and random numbers start anew, from (seed, rank, step)."""
    rank, device = run.ranks.rank, run.ranks.device
    writers = [rank] if num_writers == run.ranks.world_size else range(num_writers)
    written = [read_tensors(folder / f"rank-{writer}.safetensors") for writer in writers]
    for name, tensor in own_tensors(learner).items():
        tensor.copy_(_mean([tensors[name] for tensors in written]))
    if num_writers == run.ranks.world_size:
        random_states = {name.removeprefix(RANDOM): tensor for name, tensor in written[0].items() if name.startswith(RANDOM)}
        restore_random_state(device, random_states, json.loads((folder / f"rank-{rank}.json").read_bytes()))
    else:
        seed_everything(mix(run.file.spec.seed, 1 + run.ranks.data_rank, step))


def _mean(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Of whole numbers and truths the first itself."""
    return torch.stack(tensors).mean(dim=0) if len(tensors) > 1 and tensors[0].is_floating_point() else tensors[0]

"""Checkpoints: a folder that is whole or invisible.

Every rank writes its part into ``.tmp-step-N-<attempt>``; rank 0 makes it durable, seals it with a manifest and renames it.
A folder holds

    model.safetensors      weights and buffers of rank 0
    optimizer.safetensors  the optimiser's memory
    best.safetensors       the best weights so far, when there was an evaluation
    state.json             ``State``: position, best score, early stopping
    rank-R.safetensors     random states of rank R, and its own buffers
    rank-R.json            random states of Python and NumPy on rank R
    manifest.json          size and SHA-256 of each

so that any one of them is enough to go on exactly. The newest two are kept.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import ValidationError

from core.manifest import ManifestError, fsync, seal, verify
from core.run_dir import RunDir
from trainer.determinism import capture_random_state, restore_random_state
from trainer.errors import StorageFailed
from trainer.state import Learner, Run, State
from trainer.tensor_files import load_optimizer_tensors, optimizer_tensors, read_tensors, write_tensors

NUM_KEPT = 2


def save(run: Run, learner: Learner, state: State) -> None:
    """Writes the checkpoint of this step; a no-op when it is there. A collective.

    Raises StorageFailed on every rank when one of them could not write; nothing half written is visible then.
    """
    final = run.dir.checkpoint(state.step)
    if final.exists():  # the same for all: ranks meet below before anything is renamed
        return
    part = final.with_name(f".tmp-{final.name}-{run.file.attempt}")
    try:
        _together(run, lambda: _start_part(part) if run.ranks.is_first else None, "prepared")
        _together(run, lambda: _write_part(part, run, learner, state), "written")
        _together(run, lambda: _publish(part, final, run, state) if run.ranks.is_first else None, "published")
    except StorageFailed:
        shutil.rmtree(part, ignore_errors=True)  # gives a full disk its space back
        raise
    run.report.progress(checkpoint_step=state.step)


def load(run: Run, learner: Learner, folder: Path) -> State:
    """Puts model, optimiser and random states back as they were; StorageFailed when the folder is not what was sealed."""
    own = folder / f"rank-{run.ranks.rank}.safetensors"
    try:
        num_ranks = verify(folder).meta.get("world_size")
        if num_ranks != run.ranks.world_size:
            raise ManifestError(f"it was written by {num_ranks} ranks, not {run.ranks.world_size}")
        state = State.model_validate_json((folder / "state.json").read_bytes())
        others = json.loads(own.with_suffix(".json").read_text())
    except (ManifestError, ValidationError, ValueError, OSError) as error:
        raise StorageFailed(f"cannot resume from {folder.name}: {error}") from error
    tensors = read_tensors(own)
    buffers = {name.removeprefix("buffer."): tensor for name, tensor in tensors.items() if name.startswith("buffer.")}
    learner.model.load_state_dict({**read_tensors(folder / "model.safetensors"), **buffers})
    load_optimizer_tensors(learner.optimizer, read_tensors(folder / "optimizer.safetensors"))
    learner.best_weights = read_tensors(folder / "best.safetensors") if state.best else None
    random_states = {name.removeprefix("random."): tensor for name, tensor in tensors.items() if name.startswith("random.")}
    restore_random_state(run.ranks.device, random_states, others)
    return state


def _together(run: Run, act: Callable[[], None], what: str) -> None:
    """Does ``act`` on every rank and waits until all have; one that fails takes the others with it, by name."""
    failure: OSError | None = None
    try:
        act()
    except OSError as error:
        failure = error
    if not run.ranks.all_agree(failure is None):
        raise StorageFailed(f"a checkpoint could not be {what}: {failure or 'another rank failed'}") from failure


def _start_part(part: Path) -> None:
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)


def _write_part(part: Path, run: Run, learner: Learner, state: State) -> None:
    tensors, others = capture_random_state(run.ranks.device)
    own = {f"random.{name}": tensor for name, tensor in tensors.items()}
    own |= {f"buffer.{name}": buffer for name, buffer in learner.model.named_buffers()}
    write_tensors(part / f"rank-{run.ranks.rank}.safetensors", own)
    (part / f"rank-{run.ranks.rank}.json").write_text(json.dumps(others))
    if not run.ranks.is_first:
        return
    write_tensors(part / "model.safetensors", learner.weights())
    write_tensors(part / "optimizer.safetensors", optimizer_tensors(learner.optimizer))
    if learner.best_weights is not None:
        write_tensors(part / "best.safetensors", learner.best_weights)
    (part / "state.json").write_text(state.model_dump_json())


def _publish(part: Path, final: Path, run: Run, state: State) -> None:
    meta = {
        "step": state.step,
        "epoch": state.epoch,
        "step_in_epoch": state.step_in_epoch,
        "best_step": state.best.step if state.best else None,
        "job_id": run.file.job_id,
        "attempt": run.file.attempt,
        "world_size": run.ranks.world_size,
        "torch": torch.__version__,
    }
    seal(part, meta)
    part.rename(final)
    fsync(final.parent)
    _prune(run.dir)


def _prune(run_dir: RunDir) -> None:
    """Keeps the newest two. Each holds the best weights itself, so the best is never lost with its folder."""
    for old in run_dir.complete_checkpoints()[NUM_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)

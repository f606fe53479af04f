"""Writing a checkpoint: all ranks together, in threads beside training, so that what is seen is whole."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_saver import save

from core.manifest import fsync, seal
from core.run_dir import RunDir
from trainer.checkpoint.contents import Contents
from trainer.errors import StorageFailed
from trainer.parallel import Ranks
from trainer.state import Run
from trainer.tensor_files import write_tensors

NUM_KEPT = 2
TENSORS = "tensors"  # folder of what all ranks share


def write(run: Run, ranks: Ranks, contents: Contents) -> None:
    """A collective of ``ranks``, which have a group that nobody else talks in.

    Raises StorageFailed on every rank when one of them could not write; nothing half written is visible then.
    """
    final = run.dir.checkpoint(contents.state.step)
    part = final.with_name(f".tmp-{final.name}-{run.file.attempt}")
    try:
        together(ranks, lambda: _start_part(part) if ranks.is_first else None, "prepared")
        together(ranks, lambda: _write_own(part, ranks, contents), "written")
        _write_shared(part / TENSORS, ranks, contents)
        together(ranks, lambda: _publish(part, final, run, contents) if ranks.is_first else None, "published")
    except StorageFailed:
        shutil.rmtree(part, ignore_errors=True)  # gives a full disk its space back
        raise


def together(ranks: Ranks, act: Callable[[], object], what: str) -> None:
    """Does ``act`` on every rank and waits until all have; where one fails all do, and with its words."""
    failure: OSError | None = None
    try:
        act()
    except OSError as error:
        failure = error
    if failures := ranks.gather_texts([str(failure)] if failure else []):
        raise StorageFailed(f"a checkpoint could not be {what}: {failures[0]}") from failure


def _start_part(part: Path) -> None:
    shutil.rmtree(part, ignore_errors=True)
    (part / TENSORS).mkdir(mode=0o700, parents=True)


def _write_own(part: Path, ranks: Ranks, contents: Contents) -> None:
    write_tensors(part / f"rank-{ranks.rank}.safetensors", contents.own)
    (part / f"rank-{ranks.rank}.json").write_text(json.dumps(contents.own_random))
    if ranks.is_first:
        (part / "state.json").write_text(contents.state.model_dump_json())
        (part / "learner.json").write_text(json.dumps(contents.learner))


def _write_shared(folder: Path, ranks: Ranks, contents: Contents) -> None:
    """Each rank a file of its own: its shards, and its part of what all have alike."""
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        save(contents.shared, storage_writer=writer, process_group=ranks.group, no_dist=ranks.world_size == 1)
    except CheckpointException as error:
        cause = next(iter(error.failures.values()))[0]
        if isinstance(cause, OSError | SafetensorError):
            raise StorageFailed(f"a checkpoint could not be written: {cause}") from error
        raise RuntimeError(f"a checkpoint could not be written: {cause!r}") from error


def _publish(part: Path, final: Path, run: Run, contents: Contents) -> None:
    state = contents.state
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

"""How a model is spread over the ranks: copies whose gradients are averaged (DDP), or parts of it on each (FSDP), and its blocks
shared by a few ranks each (tensor parallelism)."""

from typing import TYPE_CHECKING, Any, Literal

import psutil
import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor.parallel import parallelize_module
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from core.recipes.sections.training import TrainingKnobs
from trainer.parallel.ranks import Ranks
from trainer.parallel.recomputing import recompute
from trainer.precision import chosen_precision

if TYPE_CHECKING:  # the state of a run holds its ranks, and this package makes them
    from trainer.state import Run

BYTES_PER_PARAMETER = 16  # weight, gradient and two moments of Adam, in float32
SHARE_OF_MEMORY = 0.6  # the rest is for activations

# DDP's destructor would take the process group's with it; see ``leave``.
_KEPT: list[object] = []


def wrap(run: "Run", knobs: TrainingKnobs, model: nn.Module) -> nn.Module:
    """The module to call forward on, made from ``model``, which lies on the rank's device. A collective.

    FSDP and tensor parallelism replace the parameters of ``model``: its optimiser has to be made afterwards. ValueError
    when the model cannot be shared as the knobs ask.
    """
    ranks, blocks = run.ranks, blocks_of(model)
    strategy = chosen_strategy(run, knobs, model)
    mesh = _mesh(ranks) if strategy == "fsdp" else None
    if ranks.tensor_parallel > 1:
        assert mesh is not None
        share_blocks(model, mesh["tensor"])
    if knobs.activation_checkpointing:
        for block in blocks:
            recompute(block)
    if knobs.compile:
        for block in blocks:  # once for all of them, and the ranks can talk between two
            block.compile()
    wrapped = (
        shard(model, mesh["data"], ranks, knobs) if mesh is not None else replicate(model, ranks, deterministic=_is_deterministic(run))
    )
    if knobs.compile and not blocks:
        wrapped.compile()
    return wrapped


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks of a model, input side first; empty where it has none."""
    return list(getattr(model, "blocks", ()))


def chosen_strategy(run: "Run", knobs: TrainingKnobs, model: nn.Module) -> Literal["ddp", "fsdp"]:
    """A collective. With tensor parallelism the data axis is FSDP's, for DDP knows no DTensors."""
    ranks = run.ranks
    if ranks.tensor_parallel > 1:
        return "fsdp"
    if ranks.world_size == 1:
        return "fsdp" if knobs.cpu_offload and ranks.device.type == "cuda" else "ddp"
    if knobs.strategy != "auto":
        return knobs.strategy
    needed = BYTES_PER_PARAMETER * sum(parameter.numel() for parameter in model.parameters())
    fits = needed <= SHARE_OF_MEMORY * memory_of(ranks.device, run.file.spec.resources.devices_per_node)
    return "ddp" if ranks.all_agree(fits) else "fsdp"


def memory_of(device: torch.device, num_local_ranks: int) -> float:
    """Bytes that one rank may call its own: all of its GPU's, or its share of the node's. Not what is free at the moment, so
    that a job comes to the same strategy whenever it runs."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(psutil.virtual_memory().total) / num_local_ranks


def replicate(model: nn.Module, ranks: Ranks, *, deterministic: bool) -> nn.Module:
    """``model`` with its gradients averaged over the ranks.

    Buffers are not synchronised: each rank keeps the batch-norm statistics of what it saw (checkpoints hold them per rank),
    and ``Ranks.average_buffers`` joins them at fixed places. So nothing depends on who was faster.

    DDP regroups its buckets after the first backward pass of a *process*, and with three ranks or more the place of a number
    in a bucket decides the order of its additions; a resumed run would round differently in its first step. Looking for
    unused parameters switches the regrouping off (and DDP says once that there are none).
    """
    if ranks.world_size == 1:
        return model
    wrapped = DistributedDataParallel(
        model,
        device_ids=[ranks.device.index] if ranks.device.type == "cuda" else None,
        forward_sync_buffers=False,
        find_unused_parameters=deterministic and ranks.world_size > 2,
        gradient_as_bucket_view=True,
    )
    _KEPT.append(wrapped)
    return wrapped


def shard(model: nn.Module, mesh: DeviceMesh, ranks: Ranks, knobs: TrainingKnobs) -> nn.Module:
    """``model`` itself, each block and the rest a unit that is gathered when it is needed and let go afterwards.

    The root is let go after its forward pass too: weights that are exchanged between two evaluations (averages, the best)
    would otherwise not be seen.
    """
    options: dict[str, Any] = {"mesh": mesh, "reshard_after_forward": True, "mp_policy": _policy(model, ranks, knobs)}
    options["offload_policy"] = CPUOffloadPolicy() if knobs.cpu_offload and ranks.device.type == "cuda" else OffloadPolicy()
    for block in blocks_of(model):
        fully_shard(block, **options)
    fully_shard(model, **options)
    return model


def share_blocks(model: nn.Module, mesh: DeviceMesh) -> None:
    """Splits the matrices of each block over the ranks of ``mesh``, as the model plans it."""
    plan, blocks, num_heads = getattr(model, "tensor_parallel_plan", None), blocks_of(model), getattr(model, "num_heads", 0)
    if plan is None or not blocks:
        raise ValueError(f"training.tensor_parallel: {type(model).__name__} has no blocks that ranks could share")
    if num_heads % mesh.size():
        raise ValueError(f"training.tensor_parallel: {num_heads} attention heads cannot be shared equally by {mesh.size()} ranks")
    for block in blocks:
        parallelize_module(block, mesh, plan())


def _mesh(ranks: Ranks) -> DeviceMesh:
    return init_device_mesh(ranks.device.type, (ranks.data_world, ranks.tensor_parallel), mesh_dim_names=("data", "tensor"))


def _policy(model: nn.Module, ranks: Ranks, knobs: TrainingKnobs) -> MixedPrecisionPolicy:
    """bf16 halves what is gathered. Not with batch norms, whose weights must have the type of their statistics: autocast alone
    lowers their neighbours' precision."""
    has_batch_norm = any(isinstance(module, _BatchNorm) for module in model.modules())
    if chosen_precision(ranks.device, knobs) != "bf16" or has_batch_norm:
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


def _is_deterministic(run: "Run") -> bool:
    return run.file.spec.deterministic

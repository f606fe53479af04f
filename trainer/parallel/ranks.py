"""The ranks of one attempt: who this one is, how they agree, and how one leaves.

With one rank there is no process group and every agreement is with oneself. gloo on CPUs, NCCL on GPUs.
"""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import accumulate
from typing import Literal

import torch
import torch.distributed as dist
from torch import nn

# Below gloo's and NCCL's own patience the supervisor's hang detector decides; this is only the last resort.
COLLECTIVE_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process among ``world_size``. Every method is a collective: all ranks call it, in the same order.

    ``tensor_parallel`` consecutive ranks share each block of the model; they see the same data and count as one where
    data is concerned (``data_rank`` of ``data_world``).
    """

    rank: int
    world_size: int
    device: torch.device
    tensor_parallel: int = 1
    group: dist.ProcessGroup | None = None  # None: the one of the training

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def data_rank(self) -> int:
        """Whose share of the data this rank trains on, evaluates and counts."""
        return self.rank // self.tensor_parallel

    @property
    def data_world(self) -> int:
        return self.world_size // self.tensor_parallel

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums over the data ranks, in float64, the same on each. Also the barrier: nobody leaves before everybody came."""
        if self.world_size == 1:
            return [float(value) for value in values]
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total, group=self.group)
        return (total / self.tensor_parallel).tolist()

    def sum_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        """The elementwise sum over all ranks, in place."""
        if self.world_size > 1:
            dist.all_reduce(tensor, group=self.group)
        return tensor

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """The rows of all data ranks, rank after rank, on the device of ``tensor``. Ranks may have different numbers of rows,
        also none, but the same type and the same shape of a row.
        """
        if self.world_size == 1:
            return tensor
        lengths = self._gather_equal(torch.tensor([len(tensor)], device=self.device)).flatten().tolist()
        if not max(lengths):
            return tensor
        own = tensor.detach().to(self.device).contiguous()
        padded = own.new_zeros((max(lengths), *own.shape[1:]))
        padded[: len(own)] = own
        # As bytes, because gloo and NCCL do not know every type.
        everyone = self._gather_equal(padded.flatten().view(torch.uint8)).view(own.dtype).view(self.world_size, *padded.shape)
        rows = [everyone[rank, : lengths[rank]] for rank in range(0, self.world_size, self.tensor_parallel)]
        return torch.cat(rows).to(tensor.device)

    def gather_texts(self, texts: list[str]) -> list[str]:
        """The texts of all data ranks, rank after rank."""
        if self.world_size == 1:
            return list(texts)
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        lengths = self.gather(torch.tensor([len(code) for code in encoded], dtype=torch.int64)).tolist()
        content = self.gather(torch.frombuffer(bytearray(b"".join(encoded)) or bytearray(1), dtype=torch.uint8)[: sum(map(len, encoded))])
        ends = list(accumulate(lengths))
        whole = content.numpy().tobytes()
        return [whole[end - length : end].decode("utf-8", "surrogatepass") for length, end in zip(lengths, ends, strict=True)]

    def _gather_equal(self, tensor: torch.Tensor) -> torch.Tensor:
        """(ranks, *shape) of tensors of equal shape."""
        rows = [torch.empty_like(tensor) for _ in range(self.world_size)]
        dist.all_gather(rows, tensor, group=self.group)
        return torch.stack(rows)

    def all_agree(self, claim: bool) -> bool:
        """True when it is true everywhere."""
        return self.sum([0.0 if claim else 1.0]) == [0.0]

    def beside(self) -> "Ranks":
        """The same ranks in a group of their own that talks by gloo on the CPU, for a thread that works beside training."""
        if self.world_size == 1:
            return replace(self, device=torch.device("cpu"))
        return replace(self, device=torch.device("cpu"), group=dist.new_group(backend="gloo"))

    def average_buffers(self, model: nn.Module) -> None:
        """Batch-norm statistics become the mean over the ranks."""
        if self.world_size == 1:
            return
        running = [buffer for name, buffer in model.named_buffers() if name.rsplit(".", 1)[-1] in ("running_mean", "running_var")]
        if not running:
            return
        flat = torch.cat([buffer.flatten() for buffer in running])
        dist.all_reduce(flat, group=self.group)
        flat /= self.world_size
        means = torch.split(flat, [buffer.numel() for buffer in running])
        for buffer, mean in zip(running, means, strict=True):
            buffer.copy_(mean.view_as(buffer))


def join_ranks(device: Literal["cpu", "cuda"], *, patience: timedelta = COLLECTIVE_TIMEOUT, tensor_parallel: int = 1) -> Ranks:
    """Finds the other ranks by what torchrun put into the environment (RANK, WORLD_SIZE, MASTER_ADDR, ...).

    ``tensor_parallel`` divides their number.
    """
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    own = torch.device("cpu") if device == "cpu" else torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    if own.type == "cuda":
        torch.cuda.set_device(own)
    if world_size > 1:
        # With GPUs gloo serves what rests in host memory: offloaded parameters, checkpoints.
        dist.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl", timeout=patience)
    return Ranks(rank=rank, world_size=world_size, device=own, tensor_parallel=tensor_parallel)


def is_peer_loss(error: BaseException) -> bool:
    """Whether a collective broke because another rank went away, judged by class or by what gloo says."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo/transport" in str(error))


def leave(code: int) -> None:
    """Ends this rank; returns only where the agent forked it and all is well.

    Process groups and DDP are never destroyed: gloo's destructor joins a thread that waits for the lock which the
    destroying thread holds, and so hangs or aborts a run that had succeeded (torch 2.13). A forked rank that succeeded
    must return, for its agent waits for the return value; any other leaves without running destructors.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if code or multiprocessing.parent_process() is None:
        os._exit(code)

"""When a device's memory runs out in a step: what would have fitted, for whoever reads the error."""

import torch

from trainer.loop import Training, train
from trainer.state import State

# What torch's allocator for main memory says; it has no class of its own for it.
CPU_ALLOCATOR = "DefaultCPUAllocator: can't allocate memory"


def train_within_memory(training: Training, state: State) -> bool:
    """``train``; OutOfMemoryError then names the largest batch that fits, which is found by trial on this rank alone."""
    try:
        return train(training, state)
    except torch.OutOfMemoryError as error:
        found = str(error)
    except RuntimeError as error:
        if CPU_ALLOCATOR not in str(error):
            raise
        found = str(error)
    # After the except block: until its end the error keeps the failed step's tensors alive.
    raise torch.OutOfMemoryError(f"{what_fits(training)} ({found.splitlines()[0]})")


def what_fits(training: Training) -> str:
    from trainer.batch_finder import largest_that_fits  # noqa: PLC0415  # why: most runs never ask

    learner, asked = training.learner, training.plan.batch_size
    learner.optimizer.zero_grad(set_to_none=True)
    fits = largest_that_fits(training.task, learner.model, asked, training.run.ranks)
    said = f"memory ran out with training.batch_size {asked}"
    if fits is None:
        return f"{said}; the model is spread over ranks, so a size that fits was not looked for: halve it, or raise training.accumulate"
    if fits == 0:
        return f"{said}; not even one row a micro-batch fits: a smaller model, training.activation_checkpointing or strategy fsdp may help"
    return f"{said}; the largest that fits is {fits}; the same batch with less memory: training.accumulate {max(asked // fits, 2)}"

"""A second pass against the model: on inputs, or with embeddings, that were moved to where the loss is higher.

No batch-norm statistics are taken from such passes: the model will be used on inputs that nobody moved.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from core.recipes.sections.training import Adversarial
from trainer.shards import own_gradient, own_part, whole
from trainer.tasks.task import Batch, Outcome

LossOf = Callable[[Batch], Outcome]
PGD_REACH = 2.5  # all steps together could go that many times as far as epsilon, so that the border is reached from any start


@contextmanager
def second_loss(loss_of: LossOf, model: nn.Module, batch: Batch, key: str | None, knobs: Adversarial) -> Iterator[torch.Tensor]:
    """The weighted loss of the second pass; differentiate it inside, for the embeddings are moved back at the end.

    Call it after the clean pass's backward. ``key`` names the batch's float tensor that FGSM and PGD move; ValueError
    when they have none, or FGM no embedding.
    """
    with statistics_at_rest(model):
        if knobs.method == "fgm":
            with embeddings_moved(model, knobs.epsilon):
                yield knobs.weight * loss_of(batch).loss
        else:
            if key is None:
                raise ValueError(f"adversarial method {knobs.method} needs inputs that are real numbers")
            moved = fgsm(loss_of, batch, key, knobs.epsilon) if knobs.method == "fgsm" else pgd(loss_of, batch, key, knobs)
            yield knobs.weight * loss_of({**batch, key: moved}).loss


def fgsm(loss_of: LossOf, batch: Batch, key: str, epsilon: float) -> torch.Tensor:
    """One step of ``epsilon`` along the sign of the gradient: Goodfellow et al. 2015 (arXiv:1412.6572)."""
    return batch[key] + epsilon * _uphill(loss_of, batch, key, batch[key])


def pgd(loss_of: LossOf, batch: Batch, key: str, knobs: Adversarial) -> torch.Tensor:
    """Sign steps from a random start, each cut back to within ``epsilon``: Madry et al. 2018 (arXiv:1706.06083).

    The start is drawn from torch's own generator, as dropout is, whose state is in every checkpoint.
    """
    clean, epsilon = batch[key], knobs.epsilon
    offset = torch.empty_like(clean).uniform_(-epsilon, epsilon)
    for _ in range(knobs.steps):
        step = PGD_REACH * epsilon / knobs.steps * _uphill(loss_of, batch, key, clean + offset)
        offset = (offset + step).clamp_(-epsilon, epsilon)
    return clean + offset


def _uphill(loss_of: LossOf, batch: Batch, key: str, at: torch.Tensor) -> torch.Tensor:
    """The sign of the loss's gradient by the input. Parameters' gradients stay as they are, and so does ``at``."""
    at = at.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of({**batch, key: at}).loss, at)
    return gradient.sign()


@contextmanager
def embeddings_moved(model: nn.Module, epsilon: float) -> Iterator[None]:
    """Moves every embedding table by ``epsilon`` g / |g| of the gradient it has now, and back, bit for bit: FGM, after Miyato
    et al. 2017 (arXiv:1605.07725), on tables in place of single sequences. A collective where tables are sharded.
    """
    tables = dict.fromkeys(module.weight for module in model.modules() if isinstance(module, nn.Embedding))  # in one order on all ranks
    if not tables:
        raise ValueError("adversarial method fgm needs embeddings, and the model has none")
    moved = [table for table in tables if table.grad is not None]
    kept = [own_part(table.detach()).clone() for table in moved]
    with torch.no_grad():
        for table in moved:
            _move(table, epsilon)
    try:
        yield
    finally:
        with torch.no_grad():
            for table, values in zip(moved, kept, strict=True):
                own_part(table).copy_(values)


def _move(table: torch.Tensor, epsilon: float) -> None:
    assert table.grad is not None
    norm = whole(torch.linalg.vector_norm(table.grad))
    own_part(table).add_(own_gradient(table) * (epsilon / norm.clamp(min=torch.finfo(norm.dtype).tiny)))


@contextmanager
def statistics_at_rest(model: nn.Module) -> Iterator[None]:
    """Batch norms go on normalising by the batch, and remember nothing of it."""
    norms = [module for module in model.modules() if isinstance(module, _NormBase) and module.training and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True

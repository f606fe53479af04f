"""One optimiser step's passes: the micro-batches of this rank, forward and backward, their losses weighed so that the number of
ranks and of micro-batches changes nothing but the order of additions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from core.recipes.sections.training import TrainingKnobs
from trainer.parallel import no_sync
from trainer.precision import autocast
from trainer.regularise.adversarial import second_loss
from trainer.regularise.r_drop import divergence
from trainer.state import Learner, Run
from trainer.tasks.task import Batch, Outcome, Task


@dataclass(slots=True)
class Passes:
    """This rank's share of a step, added up. ``loss`` is the sum of losses times weights."""

    loss: float = 0.0
    weight: float = 0.0
    num_correct: float | None = None
    num_units: int = 0

    def add(self, outcome: Outcome, num_units: int) -> None:
        self.loss += outcome.loss.item() * outcome.weight
        self.weight += outcome.weight
        self.num_units += num_units
        if outcome.num_correct is not None:
            self.num_correct = (self.num_correct or 0.0) + outcome.num_correct.item()


def run_passes(run: Run, task: Task, learner: Learner, batches: list[Batch]) -> Passes:
    """Leaves the gradient of the mean loss over all items of all ranks in the parameters."""
    shares = _shares(run, task, batches)
    passes = Passes()
    for number, (batch, share) in enumerate(zip(batches, shares, strict=True)):
        with no_sync(learner.wrapped, last=number == len(batches) - 1):
            outcome = backward(run, task, learner, batch, share)
        passes.add(outcome, task.num_units(batch))
    return passes


def _shares(run: Run, task: Task, batches: list[Batch]) -> list[float]:
    """By what each micro-batch's mean loss is multiplied; the ranks' gradients are averaged afterwards."""
    if not task.uneven:
        return [1.0 / len(batches)] * len(batches)
    weights = [task.weight(batch) for batch in batches]
    (total,) = run.ranks.sum([sum(weights)])
    return [weight * run.ranks.data_world / max(total, 1.0) for weight in weights]


def backward(run: Run, task: Task, learner: Learner, batch: Batch, share: float) -> Outcome:
    """Forward and backward of one micro-batch, with the second passes that the spec asks for. The outcome is that of the clean pass."""
    knobs = task.knobs

    def outcome_of(batch: Batch) -> Outcome:
        with autocast(run.ranks.device, knobs):
            return task.loss(learner.wrapped, batch)

    outcome = outcome_of(batch)
    _differentiate(learner, _with_r_drop(outcome, batch, knobs, outcome_of) * share)
    if knobs.adversarial is not None:
        with second_loss(outcome_of, learner.model, batch, task.adversarial_input(batch), knobs.adversarial) as loss:
            _differentiate(learner, loss * share)
    return outcome


def _with_r_drop(outcome: Outcome, batch: Batch, knobs: TrainingKnobs, outcome_of: Callable[[Batch], Outcome]) -> torch.Tensor:
    if not knobs.r_drop:
        return outcome.loss
    second = outcome_of(batch)
    assert outcome.logits is not None, "a task that offers no logits takes no r_drop"
    assert second.logits is not None
    return (outcome.loss + second.loss) / 2 + knobs.r_drop * divergence(outcome.logits, second.logits)


def _differentiate(learner: Learner, loss: torch.Tensor) -> None:
    (learner.scaler.scale(loss) if learner.scaler is not None else loss).backward()  # type: ignore[no-untyped-call]

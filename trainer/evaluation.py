"""Looking at a model in the course of training: when it is due, whose rows are whose, and what the score decides."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from core.states import Phase
from trainer.parallel import Ranks
from trainer.plan import Plan, tell_position
from trainer.precision import autocast
from trainer.state import Best, Learner, Run, Score, State
from trainer.tasks.task import EvaluationPlan, Task

Rows = npt.NDArray[np.int64]


def shares(num_rows: int, ranks: Ranks, batch_size: int) -> Iterator[tuple[Rows, int]]:
    """This rank's batches of the positions 0 .. num_rows - 1 of a split, and how many of each count; the rest is padding.

    Every rank gets the same number of batches, for a sharded model's forward pass is a collective. Rank r looks at the
    positions r, r + R, r + 2R ...: gathered rank after rank, position p is row ``p // R`` of rank ``p % R``.
    """
    own = np.arange(ranks.data_rank, num_rows, ranks.data_world)
    most = -(-num_rows // ranks.data_world)
    for start in range(0, most, batch_size):
        batch = own[start : start + batch_size]
        padding = min(batch_size, most - start) - len(batch)
        yield np.concatenate([batch, np.zeros(padding, dtype=np.int64)]), len(batch)


def in_row_order(gathered: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """What ``shares`` spread and ``ranks.gather`` collected, one entry per position, back in the order of positions."""
    return gathered[torch.from_numpy(_whereabouts(len(gathered), ranks)).to(gathered.device)]


def texts_in_row_order(gathered: list[str], ranks: Ranks) -> list[str]:
    """The same for ``ranks.gather_texts``."""
    return [gathered[place] for place in _whereabouts(len(gathered), ranks).tolist()]


def _whereabouts(num_rows: int, ranks: Ranks) -> Rows:
    """Where in what was gathered rank after rank each position is."""
    return np.argsort(np.concatenate([np.arange(rank, num_rows, ranks.data_world) for rank in range(ranks.data_world)]))


def is_due(evaluation: EvaluationPlan | None, plan: Plan, state: State) -> bool:
    """Whether the model as it is now has to be looked at before anything else happens."""
    if evaluation is None or state.step == state.evaluated_step:
        return False
    if evaluation.every_steps is not None:
        by_plan = state.step % evaluation.every_steps == 0
    else:
        by_plan = state.step_in_epoch == plan.steps_per_epoch and (state.epoch + 1) % evaluation.every_epochs == 0
    return by_plan or state.step == plan.num_steps


def evaluate(run: Run, task: Task, learner: Learner, state: State, plan: Plan) -> Score:
    """A collective. The score of the validation split under the weights that count."""
    tell_position(run, plan, state, Phase.EVALUATING)
    learner.model.eval()
    with learner.evaluated_weights():
        run.ranks.average_buffers(learner.model)  # of the weights that count: averages have buffers of their own
        with torch.inference_mode(), autocast(run.ranks.device, task.knobs):
            score = task.evaluate(learner.model, "validation")
        remember_if_best(task, learner, state, score)
    learner.model.train()
    state.evaluated_step = state.step
    run.report.points(state.step, score.named("validation"))
    run.report.scores(f"epoch {state.epoch + 1}, step {state.step}", score.named("validation"))
    tell_position(run, plan, state, Phase.TRAINING)
    return score


def remember_if_best(task: Task, learner: Learner, state: State, score: Score) -> None:
    """Keeps a copy of the weights that the model has now when they are the best so far: by the metric, then by the loss."""
    assert task.evaluation is not None
    if state.best is None or rank_of(task.evaluation, score) > rank_of(task.evaluation, state.best.score):
        state.best = Best(step=state.step, epoch=state.epoch, score=score)
        learner.best_weights = {name: tensor.detach().clone() for name, tensor in learner.weights().items()}


def rank_of(evaluation: EvaluationPlan, score: Score) -> tuple[float, float]:
    """Greater is better."""
    value = score.metrics[evaluation.metric]
    return (value if evaluation.higher_is_better else -value), -score.metrics.get("loss", 0.0)


def patience_has_run_out(evaluation: EvaluationPlan, score: Score, state: State) -> bool:
    """Counts evaluations without progress of ``min_delta`` or more beyond the last that had some."""
    value = rank_of(evaluation, score)[0]
    if state.value_to_beat is None or value > state.value_to_beat + evaluation.min_delta:
        state.value_to_beat, state.num_stale_evaluations = value, 0
    else:
        state.num_stale_evaluations += 1
    return evaluation.patience is not None and state.num_stale_evaluations >= evaluation.patience

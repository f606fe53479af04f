"""The frame of every recipe that trains on a dataset: sections that all have, and what must hold between them."""

from typing import ClassVar, Self

from pydantic import model_validator

from core.recipes.sections.fine_tuning import FineTuning
from core.recipes.sections.training import AdversarialMethod, TrainingKnobs
from core.recipes.sections.transformers import Transformers
from core.spec import Dataset, JobSpec


class TrainedSpec(JobSpec):
    """A recipe says what second passes it allows: by default neither inputs nor embeddings that an attack could move, nor logits
    that two passes could be compared by."""

    attacks: ClassVar[tuple[AdversarialMethod, ...]] = ()
    allows_r_drop: ClassVar[bool] = False
    trains_on_rows: ClassVar[bool] = True  # and not on pieces that its texts are cut into

    dataset: Dataset
    fine_tuning: FineTuning | None = None
    training: TrainingKnobs = TrainingKnobs()

    def num_steps(self, num_training_rows: int | None) -> int | None:
        knobs = self.training
        if num_training_rows is None or knobs.batch_size == "auto" or not self.trains_on_rows:
            return knobs.max_steps
        steps = -(-num_training_rows // knobs.batch_size) * knobs.epochs
        return steps if knobs.max_steps is None else min(steps, knobs.max_steps)

    @model_validator(mode="after")
    def _can_be_trained(self) -> Self:
        _check_ranks(self)
        _check_second_passes(self)
        _check_base_model(self)
        return self


def _check_ranks(spec: TrainedSpec) -> None:
    """The ranks can share a step equally, and compute as asked."""
    knobs, resources = spec.training, spec.resources
    if knobs.precision == "fp16" and resources.accelerator == "cpu":
        raise ValueError("training.precision fp16 needs a GPU; bf16 works on CPUs too")
    num_ranks = resources.nodes * resources.devices_per_node
    if num_ranks % knobs.tensor_parallel:
        raise ValueError(f"{num_ranks} ranks cannot form groups of training.tensor_parallel {knobs.tensor_parallel}")
    num_parts = num_ranks // knobs.tensor_parallel * knobs.accumulate
    if knobs.batch_size != "auto" and knobs.batch_size % num_parts:
        raise ValueError(
            f"training.batch_size {knobs.batch_size} cannot be shared equally by {num_parts} (ranks times training.accumulate)"
        )


def _check_second_passes(spec: TrainedSpec) -> None:
    adversarial = spec.training.adversarial
    if adversarial is not None and adversarial.method not in spec.attacks:
        instead = f"; {', '.join(spec.attacks)} can" if spec.attacks else ""
        raise ValueError(f"training.adversarial {adversarial.method} cannot move the inputs of this recipe{instead}")
    if spec.training.r_drop and not spec.allows_r_drop:
        raise ValueError("training.r_drop compares classes, and this recipe has none")


def _check_base_model(spec: TrainedSpec) -> None:
    """What is to be tuned is there, and its adapters can be shared."""
    if spec.base_model is None:
        if spec.fine_tuning is not None:
            raise ValueError("fine_tuning says what of a base model is trained on, and there is no base_model")
        if isinstance(spec.model, Transformers) and spec.model.config is None:
            raise ValueError("model family transformers needs a config or a base_model")
    if spec.fine_tuning is not None and spec.fine_tuning.train == "lora" and spec.training.tensor_parallel > 1:
        raise ValueError("fine_tuning.train lora does not go with training.tensor_parallel; strategy fsdp does")

"""When a model is looked at, by which number the best is chosen, and when training stops early."""

from pydantic import Field

from core.spec import Section


class EvaluationKnobs(Section):
    every_epochs: int = Field(default=1, ge=1, le=100_000)
    every_steps: int | None = Field(default=None, ge=1, description="instead of every_epochs")
    metric: str | None = Field(
        default=None, max_length=64, description="the validation metric that decides which weights are kept; null: the recipe's own"
    )
    patience: int | None = Field(
        default=None, ge=1, le=10_000, description="early stopping: evaluations without a better metric; null for never"
    )
    min_delta: float = Field(default=0.0, ge=0, description="how much better counts as better")
    limit_rows: int | None = Field(default=None, ge=1, description="of the validation split, while training; null for all")

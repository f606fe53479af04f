"""scripted: a tiny real training run that ends the way its spec says. For tests, drills and timing."""

from typing import ClassVar, Literal

from pydantic import Field

from core.recipes.sections.training import ENGINE_METRICS
from core.spec import JobSpec, Section

Ending = Literal["ok", "raise", "exit", "kill", "segfault", "hang", "never", "out_of_memory", "nan", "invalid_data", "no_result"]


class Training(Section):
    steps: int = Field(default=10, ge=1, le=10_000_000)
    step_seconds: float = Field(default=0.0, ge=0, le=3600, description="how long each step takes besides its arithmetic")
    ending: Ending = Field(default="ok", description="what happens at `at_step`; `never` ignores `steps` and goes on until it is stopped")
    at_step: int = Field(default=5, ge=0, description="the step that misbehaves, counted from 1; 0 means 1")
    rank: int = Field(default=0, ge=0, description="the rank that misbehaves")
    exit_code: int = Field(default=17, ge=1, le=125)
    only_attempts: tuple[int, ...] | None = Field(
        default=None, max_length=100, description="misbehave in these attempts only; null for all"
    )
    ignore_sigterm: bool = Field(default=False, description="neither checkpoint nor leave when asked to stop")
    log_lines: int = Field(default=0, ge=0, le=10_000_000, description="lines that each rank prints at every step")
    threads_per_rank: int = Field(default=1, ge=1, le=64)


class ScriptedSpec(JobSpec):
    """A two-layer network on made-up numbers that obeys its spec: it succeeds, raises, exits, is killed, hangs or never ends."""

    summary: ClassVar[str] = "A tiny run that ends as told, for drills and tests"
    metrics: ClassVar[tuple[str, ...]] = (*ENGINE_METRICS, "samples_per_second", "test_loss")

    recipe: Literal["scripted"]
    training: Training = Training()

    def num_steps(self, num_training_rows: int | None) -> int | None:
        return None if self.training.ending == "never" else self.training.steps

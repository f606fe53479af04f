"""The frame of recipes that work on data or models without training: one rank, and nothing to resume."""

from typing import Self

from pydantic import model_validator

from core.spec import JobSpec


class ToolSpec(JobSpec):
    """A job of one rank that reads, writes artifacts and ends. ``training`` and ``checkpoints`` mean nothing to it."""

    @model_validator(mode="after")
    def _one_rank(self) -> Self:
        if self.resources.devices_per_node != 1:
            raise ValueError(f"{self.recipe} runs on one device; resources.devices_per_node must be 1")
        return self

"""The registry of tasks: one for each recipe in ``core.recipes`` (a test compares the two)."""

from collections.abc import Callable

from trainer.state import Run
from trainer.tasks.image_classification import ImageClassification
from trainer.tasks.scripted import Scripted
from trainer.tasks.task import Task

TASKS: dict[str, Callable[[Run], Task]] = {
    "image-classification": ImageClassification,
    "scripted": Scripted,
}


def new_task(run: Run) -> Task:
    """The task of the run's recipe. Raises InvalidData when its data cannot be used."""
    return TASKS[run.file.spec.recipe](run)

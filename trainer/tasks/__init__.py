"""The registry of tasks: one for each recipe in ``core.recipes`` (a test compares the two)."""

import importlib
from pathlib import Path

from trainer.errors import InvalidData
from trainer.state import Run
from trainer.tasks.task import Task

# recipe -> "module:class", by name: a run imports its own recipe and the libraries of no other.
TASKS: dict[str, str] = {
    "causal-language-modeling": "trainer.tasks.causal_language_modeling:CausalLanguageModeling",
    "image-classification": "trainer.tasks.image_classification:ImageClassification",
    "scripted": "trainer.tasks.scripted:Scripted",
    "tabular": "trainer.tasks.tabular:Tabular",
    "token-classification": "trainer.tasks.token_classification:TokenClassification",
    "text-classification": "trainer.tasks.text_classification:TextClassification",
    "masked-language-modeling": "trainer.tasks.masked_language_modeling:MaskedLanguageModeling",
    "recommendation": "trainer.tasks.recommendation:Recommendation",
    "speech-recognition": "trainer.tasks.speech_recognition:SpeechRecognition",
}


def new_task(run: Run) -> Task:
    """The task of the run's recipe. Raises InvalidData when its data cannot be used."""
    if run.file.data_dir is not None and not Path(run.file.data_dir).exists():
        raise InvalidData([f"{run.file.data_dir} does not exist on this node"])
    module, _, name = TASKS[run.file.spec.recipe].partition(":")
    task: Task = getattr(importlib.import_module(module), name)(run)
    return task

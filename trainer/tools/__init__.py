"""Work on data and models that is not training, each a recipe of its own: one rank, no loop, no checkpoint; a retry starts anew.

A tool reads what the run file names, leaves artifacts and answers the run's metrics. It ends early with None when it is asked to
stop (``run.stop.asked``), and tells ``run.report`` how far it is, for its age decides whether it hangs.
"""

import importlib
from collections.abc import Callable

from trainer.state import Run

Tool = Callable[[Run], dict[str, float] | None]

# recipe -> "module:function", by name: a run imports the libraries of no other.
TOOLS: dict[str, str] = {
    "batch-prediction": "trainer.tools.batch_prediction:predict",
    "model-evaluation": "trainer.tools.model_evaluation:evaluate",
    "model-export": "trainer.tools.model_export:export",
    "dataset-preparation": "trainer.tools.dataset_preparation:prepare",
    "dataset-validation": "trainer.tools.dataset_validation:validate",
}


def find_tool(recipe: str) -> Tool | None:
    """None when the recipe trains. A tool answers its metrics, or None when it stopped as asked."""
    if recipe not in TOOLS:
        return None
    module, _, name = TOOLS[recipe].partition(":")
    tool: Tool = getattr(importlib.import_module(module), name)
    return tool

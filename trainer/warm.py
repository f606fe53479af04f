"""What a launch pad has in memory for the ranks that it forks: the trainer, every recipe and every network of our own.

Imported for that alone. It goes by the registries, so a new recipe is warm without another line. The Transformers library
stays out: it takes seconds and half a gigabyte, and a rank that needs it imports it. So do the tools: theirs start threads
(pyarrow), after which nothing may be forked.
"""

import importlib

import trainer.main
from trainer.models import FAMILIES
from trainer.tasks import TASKS

TRANSFORMERS = "trainer.models.hf"

for place in (*TASKS.values(), *FAMILIES.values()):
    module = place.partition(":")[0]
    if module != TRANSFORMERS:
        importlib.import_module(module)

__all__ = ["trainer"]

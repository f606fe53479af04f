"""What recipes promise in core, tasks keep in the trainer."""

import subprocess
import sys

from core.recipes import RECIPES
from core.states import Reason
from tests.trainer.launching import Launch
from trainer.tasks import TASKS
from trainer.tools import TOOLS

NEVER_BEFORE_A_FIRST_STEP = ("sklearn", "scipy", "matplotlib", "transformers", "torchvision", "sqlalchemy", "fastapi", "celery")


def test_every_recipe_has_a_task_and_every_task_a_recipe() -> None:
    assert TASKS.keys() | TOOLS.keys() | {"script"} == RECIPES.keys(), "a script is its own program: the trainer has no part in it"
    assert not TASKS.keys() & TOOLS.keys()


def test_the_metrics_a_run_writes_are_those_its_recipe_announces(launch: Launch) -> None:
    small = {"dataset": {"builtin": "digits"}, "model": {"width": 4}, "training": {"epochs": 1}}
    for name, more in (("scripted", {}), ("image-classification", small)):
        attempt = launch({"recipe": name, **more}).run()
        attempt.expect(Reason.COMPLETED)
        written = {metric for line in attempt.metrics() for metric in line.values}
        announced = set(RECIPES[name].metrics)
        assert written <= announced
        assert announced - written <= {"mfu", "checkpoint_stall_seconds", "evaluating_seconds"}, "announced and never written"


def test_what_a_first_step_does_not_need_is_not_imported() -> None:
    code = f"import sys, trainer.main; sys.exit(', '.join(set({NEVER_BEFORE_A_FIRST_STEP}) & sys.modules.keys()) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)

"""The job that validates a version."""

import json

from core.errors import InvalidInput, Problem
from core.recipes import AnyJobSpec, parse_spec

VALIDATION = "dataset-validation"  # the recipe


def validation_spec(name: str, number: int, task: str | None) -> AnyJobSpec:
    """Its spec; InvalidInput for a task that the recipe does not know."""
    spec = {"recipe": VALIDATION, "dataset": {"name": name, "version": number}, "data": {"task": task or "auto"}}
    return parse_spec(json.dumps(spec))


def check_task(name: str, task: str) -> None:
    """InvalidInput unless a validation could be told so."""
    try:
        validation_spec(name, 1, task)
    except InvalidInput as error:
        raise InvalidInput(problems=[Problem("/task", problem.message, problem.code) for problem in error.problems]) from None

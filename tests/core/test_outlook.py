"""What a profile tells about a job before it is submitted."""

import json
from typing import Any

import pytest

from core.datasets.outlook import foretell
from core.profile import Profile
from core.recipes import parse_spec
from core.spec import NamedDataset


def told(spec: dict[str, Any], **profile: Any) -> Any:
    known = {"valid": True, "format": "csv", "task": None, "is_task_told": False, "num_files": 1, "num_bytes": 1, "num_findings": 0}
    parsed = parse_spec(json.dumps({"dataset": "mine@3", **spec}))
    assert isinstance(parsed.dataset, NamedDataset)
    return foretell(parsed, parsed.dataset, Profile.model_validate({**known, **profile}))


TABLE = {"recipe": "tabular", "data": {"validation_fraction": 0.2, "test_fraction": 0.1}}


@pytest.mark.parametrize(
    ("splits", "expected"),
    [({"all": 1000}, 700), ({"train": 800, "test": 200}, 640), ({"train": 700, "validation": 100, "test": 200}, 700)],
)
def test_training_rows_are_what_the_splits_leave(splits: dict[str, int], expected: int) -> None:
    found = told(TABLE, num_rows=1000, splits=splits)
    assert (found.name, found.version, found.num_training_rows, found.truncated_share) == ("mine", 3, expected, None)


@pytest.mark.parametrize(("max_length", "expected"), [(100, 0.0), (75, 0.25), (50, 0.25), (20, 0.8), (4, 0.96)])
def test_the_share_of_cut_texts_is_read_off_the_histogram(max_length: int, expected: float) -> None:
    numbers = {"num": 100, "min": 0, "max": 100, "mean": 30, "deviation": 1, "quantiles": {}, "histogram": [25, 50, 0, 25]}
    lengths = {"characters": numbers, "words": numbers, "tokens": numbers}
    column = {"name": "body", "type": "text", "num_missing": 0, "num_unique": 9, "lengths": lengths}
    spec = {"recipe": "text-classification", "data": {"tokenizer": {"max_length": max_length}}}
    found = told(spec, num_rows=100, splits={"all": 100}, columns=[column], columns_used={"text": "body"})
    assert found.truncated_share == pytest.approx(expected)

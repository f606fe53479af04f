"""Specs out of settings, and values as people read them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from core.recipes import RECIPES, parse_spec
from core.wire.jobs import Job, ValidationReport
from tests.client.conftest import job_json
from trainyard.cli.watching import PlainLines
from trainyard.cli.words import ago, duration, fraction_done, number, outlook_lines, progress_line, size, sparkline
from trainyard.errors import BadInput
from trainyard.specs import read_spec, spec_text, with_settings


def job(state: str = "running", **changes: Any) -> Job:
    return Job.model_validate_json(job_json(state, **changes))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["seed=3"], {"seed": 3}),
        (["training.steps=5", "training.ending=raise"], {"training": {"steps": 5, "ending": "raise"}}),
        (['labels={"a": "b"}', "labels.c=d"], {"labels": {"a": "b", "c": "d"}}),
        (["name=a=b"], {"name": "a=b"}),
        (["deterministic=true", "name=null", 'name="7"'], {"deterministic": True, "name": "7"}),
        (["name="], {"name": ""}),
    ],
)
def test_settings_are_json_where_they_can_be_and_else_text(settings: list[str], expected: dict[str, Any]) -> None:
    assert with_settings({"recipe": "scripted"}, settings) == {"recipe": "scripted", **expected}


@pytest.mark.parametrize("setting", ["seed", "=3", "a..b=1", ".a=1", "recipe.x=1"])
def test_a_setting_that_means_nothing_is_refused(setting: str) -> None:
    with pytest.raises(BadInput, match="-p"):
        with_settings({"recipe": "scripted"}, [setting])


def test_settings_leave_the_original_alone() -> None:
    original = {"training": {"steps": 1}}
    with_settings(original, ["training.steps=2"])
    assert original == {"training": {"steps": 1}}


def test_a_typed_spec_says_only_what_was_set() -> None:
    spec = parse_spec('{"recipe": "scripted", "training": {"steps": 4}}')
    assert spec_text(spec) == b'{"recipe":"scripted","training":{"steps":4}}'
    assert spec_text({"recipe": "scripted"}) == b'{"recipe": "scripted"}'


@pytest.mark.parametrize(("text", "words"), [("{", "line 1, column 2"), ("[1]", "a JSON object, not list"), ("", "not JSON")])
def test_a_file_that_is_no_spec_is_told_with_its_place(text: str, words: str, tmp_path: Any) -> None:
    path = tmp_path / "spec.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=words):
        read_spec(path)


def test_numbers_that_json_has_no_word_for_are_refused() -> None:
    with pytest.raises(BadInput, match="cannot be written as JSON"):
        spec_text({"seed": float("nan")})


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0.0 s"), (0.42, "0.4 s"), (12, "12 s"), (59.4, "59 s"), (185, "3 min 5 s"), (3599.9, "1 h 0 min"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_sizes_numbers_and_ages() -> None:
    assert [size(count) for count in (0, 1023, 1536, 5 << 20, 3 << 40)] == ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 TiB"]
    assert [number(value) for value in (None, 0.123456, 3.0, 1e-9)] == ["-", "0.1235", "3", "1e-09"]
    assert ago(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 1, tzinfo=UTC)) == "1 min 0 s ago"


def test_progress_is_one_line() -> None:
    progress = {"phase": "training", "step": 120, "total_steps": 460, "epoch": 4, "total_epochs": 20}
    seen = job(phase="training", progress=progress, metrics={"accuracy": 0.912, "loss": 0.31, "odd": 1.0}, seconds_left=12.2)
    assert progress_line(seen) == "training  step 120/460  epoch 5/20  loss 0.31  accuracy 0.912  12 s left"
    assert fraction_done(seen) == pytest.approx(120 / 460)
    assert progress_line(job("queued", waiting_for="a worker")) == "queued  waits for a worker"
    assert fraction_done(job("queued")) is None


def test_a_sparkline_spans_from_the_lowest_to_the_highest() -> None:
    assert sparkline([0.0, 1.0, 2.0, 3.0], width=4) == "▁▃▆█"
    assert sparkline([1.0, 1.0], width=2) == "▁▁"
    assert sparkline([None], width=4) == ""
    assert len(sparkline([float(value) for value in range(1000)], width=40)) == 40
    assert sparkline([2.0, None, 1.0], width=40) == "█▁"


def test_plain_lines_tell_each_change_and_not_each_step() -> None:
    now = [0.0]
    lines: list[str] = []
    tell = PlainLines(lines.append, clock=lambda: now[0])
    tell(job("queued"))
    tell(job("queued"))
    tell(job(phase="training", progress={"phase": "training", "step": 1}))
    tell(job(phase="training", progress={"phase": "training", "step": 2}))
    now[0] = 2.5
    tell(job(phase="training", progress={"phase": "training", "step": 3}))
    assert [line.split("  ", 1)[1] for line in lines] == ["queued", "training  step 1", "training  step 3"]


def test_the_examples_are_valid_specs() -> None:
    assert RECIPES[parse_spec(spec_text("examples/digits.json")).recipe]


def test_an_outlook_says_what_is_known_and_nothing_else() -> None:
    spec = {"recipe": "scripted"}
    assert outlook_lines(ValidationReport.model_validate({"spec": spec, "queue": {"num_jobs": 0, "seconds": 0.0}, "estimate": {}})) == []
    known = {"num_steps": 4800, "seconds": 75.0, "memory_bytes": 2.0**30, "from_jobs": ["job_a", "job_b"]}
    data = {"name": "reviews", "version": 2, "splits": {"all": 10}, "num_training_rows": 8, "truncated_share": 0.25}
    told = {**data, "warnings": [{"code": "leak", "message": "3 rows of test are in train"}]}
    lines = outlook_lines(ValidationReport.model_validate({"spec": spec, "data": told}))
    assert lines == ["data: reviews@2, training rows: 8, 25% of the texts are cut", "  3 rows of test are in train"]
    report = ValidationReport.model_validate({"spec": spec, "queue": {"num_jobs": 3, "seconds": None}, "estimate": known})
    assert outlook_lines(report) == ["queue: 3 ahead", "estimate: 4,800 steps, about 1 min 15 s, 1.0 GiB a device (as 2 earlier jobs)"]

"""Which step means something to which form of dataset."""

import json
from typing import Any

import pytest

from core.recipes import parse_spec
from core.recipes.dataset_preparation import STEPS, DatasetPreparationSpec
from core.recipes.preparable import FORMS, STEPS_OF, Described, problems_of

TABLE = Described("csv", ("a", "speaker"), has_audio=False, has_tags=False)
SPEECH = Described("csv", ("file_name", "text"), has_audio=True, has_tags=False)
TAGGED = Described("jsonl", ("tokens", "ner_tags"), has_audio=False, has_tags=True)
LENGTH = {"do": "drop_by_length", "min": 1}


def refused(of: Described, *steps: dict[str, Any]) -> list[tuple[int, str]]:
    spec = parse_spec(json.dumps({"recipe": "dataset-preparation", "dataset": {"path": "/d"}, "data": {"steps": steps}}))
    assert isinstance(spec, DatasetPreparationSpec)
    return list(problems_of(spec.data.steps, of))


def test_every_step_is_for_some_form_and_every_form_has_steps() -> None:
    assert {step for steps in STEPS_OF.values() for step in steps} == set(STEPS.values())
    assert set(FORMS.values()) == STEPS_OF.keys()


@pytest.mark.parametrize(
    ("of", "step", "message"),
    [
        (Described("text"), {"do": "normalise", "columns": ["a"]}, "means nothing to plain text"),
        (Described("text"), {"do": "split", "by": "group", "column": "a"}, "plain text has no column 'a'"),
        (Described("text"), {"do": "split", "by": "stratified"}, "nothing to split by stratified"),
        (Described("text"), {"do": "balance"}, "means nothing to plain text"),
        (Described("text"), {**LENGTH, "unit": "seconds"}, "no length in seconds"),
        (Described("conll"), {"do": "drop_missing"}, "means nothing to tagged words"),
        (Described("conll"), {**LENGTH, "unit": "characters"}, "as long as they have words"),
        (Described("idx"), {"do": "normalise", "columns": ["a"]}, "means nothing to a set of images"),
        (Described("image-arrays"), {"do": "augment", "audio": {"speed": 0.1}}, "what to do with recordings"),
        (Described("idx"), {"do": "sample", "rows": 3, "unit": "document"}, "has no documents"),
        (TABLE, {"do": "drop_duplicates", "unit": "document"}, "has no documents"),
        (TABLE, {"do": "map_tags", "drop": ["person"]}, "no words with tags"),
        (TABLE, {"do": "augment", "audio": {"noise": 20}}, "names no recordings"),
        (TABLE, {**LENGTH, "unit": "seconds"}, "names no recordings"),
        (TABLE, {**LENGTH, "unit": "words"}, "column must say which"),
        (TABLE, {"do": "balance"}, "must be given"),
        (SPEECH, {"do": "map_tags", "drop": ["person"]}, "no words with tags"),
        (Described("parquet"), {"do": "fix_encoding"}, "no encoding to fix"),
        (Described("csv+jsonl"), {"do": "drop_duplicates"}, "in different formats"),
        (Described("audio-archive"), {"do": "augment", "images": {"flip": True}}, "what to do with images"),
        (Described("files"), {"do": "drop_duplicates"}, "of format files"),
    ],
)
def test_a_step_that_means_nothing_is_refused(of: Described, step: dict[str, Any], message: str) -> None:
    first = {"do": "drop_duplicates"}
    found = refused(of, step) if step["do"] == "fix_encoding" or of.form is None else refused(of, first, step)
    assert [number for number, _ in found] == [0 if step["do"] == "fix_encoding" or of.form is None else 1]
    assert message in found[0][1]


def test_what_means_something_passes() -> None:
    documents: list[dict[str, Any]] = [
        {"do": "split", "by": "ratio", "unit": "document"},
        {"do": "split", "by": "time"},
        {"do": "sample", "rows": 3},
    ]
    assert refused(Described("text"), {"do": "fix_encoding"}, {"do": "drop_missing"}, *documents, {**LENGTH, "unit": "words"}) == []
    assert refused(Described("conll"), *documents, {"do": "map_tags", "drop": ["x"]}, {"do": "balance"}) == []
    assert refused(TAGGED, {"do": "map_tags", "drop": ["x"]}, {"do": "balance"}, {**LENGTH, "unit": "words"}) == []
    assert refused(SPEECH, {"do": "augment", "audio": {"speed": 0.1}}, {**LENGTH, "unit": "seconds"}) == []
    images: list[dict[str, Any]] = [{"do": "balance"}, {"do": "split", "by": "stratified"}, {"do": "augment", "images": {"flip": True}}]
    assert [refused(Described(kind), *images) for kind in ("idx", "image-arrays", "image-folder")] == [[], [], []]


def test_what_is_not_known_of_a_table_refuses_nothing() -> None:
    steps: list[dict[str, Any]] = [{"do": "augment", "audio": {"speed": 0.1}}, {"do": "normalise", "columns": ["x"]}, {"do": "balance"}]
    assert [refused(Described(kind), *steps) for kind in ("csv", "audio-archive")] == [[], []]


def test_names_are_followed_through_the_steps() -> None:
    found = refused(
        TABLE,
        {"do": "map_columns", "rename": {"a": "b"}},
        {"do": "split", "by": "group", "column": "a"},
        {"do": "map_columns", "drop": ["b", "speaker"]},
        {"do": "clip_outliers", "columns": ["b"]},
    )
    assert [number for number, _ in found] == [1, 2, 3]

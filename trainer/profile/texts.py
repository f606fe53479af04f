"""Files of text and of tagged words described: lines and sentences as rows of a table."""

from pathlib import Path
from typing import Any

from core.recipes.sections.data import DataKnobs
from trainer.data.findings import Findings
from trainer.data.tagged import TAG_COLUMNS, read_sentences
from trainer.data.text.columns import read_plain_texts
from trainer.profile.detection import Detected
from trainer.profile.rules import knobs_of
from trainer.profile.sketch import Sketch
from trainer.profile.tables import describe_table
from trainer.tools.telling import Tell


def profile_lines(root: Path, detected: Detected, tell: Tell) -> Sketch:
    """A row is a line that is not blank. What cannot be read is for the rules of the recipe to say."""
    table = read_plain_texts(root, None, DataKnobs(), Findings())
    table.columns = {"text": table.columns["text"]}
    sketch = describe_table(table, _with(detected, text="text"), tell)
    sketch.unit, sketch.may_repeat = "lines", True
    return sketch


def profile_tagged(root: Path, detected: Detected, findings: Findings, tell: Tell) -> Sketch:
    """A row is a sentence; labels are counted by word."""
    knobs: Any = knobs_of("token-classification", {})
    table = read_sentences(root, knobs, findings)
    sketch = describe_table(table, _with(detected, tokens="tokens", tags=TAG_COLUMNS[0]), tell)
    sketch.unit = "sentences"
    return sketch


def _with(detected: Detected, **columns: str) -> Detected:
    return Detected(detected.format, detected.task, columns, is_told=detected.is_told, is_sure=detected.is_sure)

"""Tables described. The table is in memory whole, as it is when a recipe trains on it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.data.cells import as_category, is_missing
from trainer.data.findings import Findings
from trainer.data.table import Table, read_table
from trainer.data.tabular_columns import kind_of_target
from trainer.data.text.columns import BETWEEN
from trainer.profile.columns import has_mixed_types, profile_column
from trainer.profile.detection import Detected
from trainer.profile.rows import Ledger, digest, loosely
from trainer.profile.sketch import Sketch
from trainer.tools.telling import Tell

CONTENT = ("text", "text_pair", "prompt", "completion", "messages", "tokens")  # roles whose cells a model reads


def profile_table(root: Path, detected: Detected, findings: Findings, tell: Tell) -> Sketch:
    table = read_table(root, findings, split_column=detected.columns.get("split", "split"))
    return describe_table(table, detected, tell)


def describe_table(table: Table, detected: Detected, tell: Tell) -> Sketch:
    sketch = Sketch(Ledger(has_splits=any(table.parts)))
    labels = _labels(table, detected)
    for position, (key, loose) in enumerate(_keys(table, detected)):
        if position % 1000 == 0:
            tell(position, table.num_rows)
        sketch.ledger.add(key, part=table.parts[position], label=labels[position] if labels else None, loose=loose)
    for number, (name, cells) in enumerate(table.columns.items()):
        tell(number, len(table.columns))
        sketch.columns.append(profile_column(name, cells))
        if has_mixed_types(cells):
            sketch.warn("mixed_types", f"column {name!r} holds values of different types")
    if detected.task == "token-classification":
        _count_tags(table, detected, sketch)
    sketch.labels = sketch.ledger.labels_profile(detected.columns.get("label") or detected.columns.get("target"))
    return sketch


def _keys(table: Table, detected: Detected) -> Iterator[tuple[bytes, bytes | None]]:
    """Digests of what a model sees of each row: its texts, or all of it where it has none. Texts have a second, loose one."""
    names = [detected.columns[role] for role in CONTENT if detected.columns.get(role) in table.columns]
    cells = [table.columns[name] for name in names or table.columns]
    for row in zip(*cells, strict=True):
        if names and all(isinstance(cell, str) for cell in row):
            text = BETWEEN.join(row)
            yield digest(text), loosely(text)
        else:
            yield digest(repr(row)), None


def _labels(table: Table, detected: Detected) -> list[str | None] | None:
    """The class of each row; None where rows have no classes."""
    name = detected.columns.get("label") or detected.columns.get("target")
    cells = table.columns.get(name or "")
    if cells is None or detected.task in ("token-classification", "recommendation", "causal-language-modeling", "speech-recognition"):
        return None
    if detected.task == "tabular" and kind_of_target(cells) == "regression":
        return None
    return [_class_of(cell) for cell in cells]


def _class_of(cell: Any) -> str | None:
    return None if is_missing(cell) or not isinstance(cell, str | int | float) else as_category(cell)


def _count_tags(table: Table, detected: Detected, sketch: Sketch) -> None:
    """Labels of tagged texts are those of their words."""
    for position, tags in enumerate(table.columns.get(detected.columns.get("tags", ""), [])):
        split = (table.parts[position] or "train") if sketch.ledger.has_splits else "all"
        counts = sketch.ledger.labels.setdefault(split, Counter())
        counts.update(map(str, tags) if isinstance(tags, list) else ())

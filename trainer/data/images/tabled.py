"""Images in a table: their bytes in a parquet column, or paths to files beside a CSV or JSON-lines file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.recipes.image_classification import Data
from trainer.data.findings import Findings
from trainer.data.images.by_class import read_file
from trainer.data.images.decode import Unusable
from trainer.data.images.listing import Content, Label, Listing
from trainer.data.table import Table, read_table


def list_table(root: Path, knobs: Data, findings: Findings) -> Listing:
    table = read_table(root, findings, split_column=knobs.split_column)
    if findings.has_fatal:
        return Listing()
    cells, labels = table.column(knobs.image_column, findings), table.column(knobs.label_column, findings)
    listing = Listing()
    kept: list[int] = []
    for position, value in enumerate(labels):
        label = _label(value)
        if label is None:
            findings.bad_row(f"{value!r} is no class", **table.where(position), column=knobs.label_column)
            continue
        listing.add(label, part=table.parts[position], file=table.files[position], row=table.rows[position])
        kept.append(position)
    listing.names = _names(table, labels, knobs, findings)
    listing.groups, listing.times = (_cells(table, name, kept, findings) for name in (knobs.group_column, knobs.time_column))
    folder = root if root.is_dir() else root.parent

    def read(position: int) -> Content:
        return content_of(cells[kept[position]], folder, (folder / listing.files[position]).parent)

    listing.read = read
    return listing


def _cells(table: Table, name: str | None, kept: Sequence[int], findings: Findings) -> list[Any] | None:
    """Of a column that a split goes by, as JSON can hold them."""
    if name is None:
        return None
    cells = table.column(name, findings)
    return [cell if isinstance(cell, str | int | float | None) else str(cell) for cell in (cells[position] for position in kept)]


def _label(value: Any) -> Label | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool | int):
        return str(value) if isinstance(value, bool) else value
    return value.strip() or None if isinstance(value, str) else None


def _names(table: Table, labels: Sequence[Any], knobs: Data, findings: Findings) -> dict[Label, str]:
    """What a column of names calls each class; two names for one class are a mistake."""
    names: dict[Label, str] = {}
    if knobs.label_name_column == knobs.label_column or knobs.label_name_column not in table.columns:
        return names
    for position, (value, name) in enumerate(zip(labels, table.columns[knobs.label_name_column], strict=True)):
        label = _label(value)
        if label is None or not isinstance(name, str):
            continue
        if names.setdefault(label, name) != name:
            findings.bad_row(
                f"class {label} is {name!r} here and {names[label]!r} before", **table.where(position), column=knobs.label_name_column
            )
    return names


def content_of(cell: Any, root: Path, folder: Path) -> bytes:
    """The bytes in a cell, or those of the file that it names, which must lie below ``root``. Raises Unusable."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes):
        return cell
    if not isinstance(cell, str) or not cell.strip():
        raise Unusable("there is no image")
    path = next((base / cell for base in (folder, root) if (base / cell).is_file()), None)
    if path is None:
        raise Unusable(f"there is no file {cell!r}")
    if not path.resolve().is_relative_to(root.resolve()):
        raise Unusable(f"{cell!r} leads out of the dataset")
    return read_file(path)

"""recommendation: tables with a user, or a user and an item, in each row."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from trainer.data.cells import as_category, is_missing
from trainer.data.findings import Findings
from trainer.data.ratings import NAMES, UNKNOWN, ratings_file
from trainer.data.table import READERS, Table, read_table
from trainer.determinism import generator
from trainer.errors import InvalidData
from trainer.predict import predictor
from trainer.predict.predictor import Axes, BadInput, Record, usual_column
from trainer.ranking_scores import AT, NEVER, top_items
from trainer.tensor_files import read_tensors

MOST_SCORES = 1 << 22  # of users times items at once


class Predictor(predictor.Predictor):
    """A rating (or a score) where a row names an item, else the ten best items that the user did not have in training."""

    suffixes = tuple(READERS)
    takes = "row"
    one_each = False

    @cached_property
    def names(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads((self.folder / "names.json").read_text("utf-8"))
        return found

    @cached_property
    def numbers(self) -> dict[str, dict[str, int]]:
        return {kind: {name: number for number, name in enumerate(names, 1)} for kind, names in self.names.items()}

    @cached_property
    def seen(self) -> dict[int, list[int]]:
        tensors = read_tensors(self.folder / "seen.safetensors")
        found: dict[int, list[int]] = {}
        for user, item in zip(tensors["users"].tolist(), tensors["items"].tolist(), strict=True):
            found.setdefault(user, []).append(item)
        return found

    def table_of(self, root: Path) -> Path:
        return ratings_file(root)

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        for path in inputs:
            table = self._read(Path(path))
            if self.column_of(table.columns, "user") is None:
                raise BadInput(f"{path} has no column {self.config['preprocessing']['user_column']!r}")
            for start in range(0, table.num_rows, self.batch_size):
                stop = min(start + self.batch_size, table.num_rows)
                records = [{name: column[row] for name, column in table.columns.items()} for row in range(start, stop)]
                for record, found in zip(records, self.answer(records), strict=True):
                    yield from _one_by_one(self.named(record, "user"), self.named(record, "item"), found)

    def answer(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """``prediction`` for a record with an item; else ``items``, the best ones, and their ``scores``."""
        found: list[dict[str, Any]] = [{} for _ in records]
        numbers = torch.tensor([self._number(record, "user") for record in records])
        rated = [row for row, record in enumerate(records) if self.named(record, "item") is not None]
        for row, score in zip(rated, self._scores(numbers[rated], [records[row] for row in rated]), strict=True):
            found[row] = {"prediction": score}
        others = [row for row, own in enumerate(found) if not own]
        at_once = max(1, MOST_SCORES // (len(self.names["items"]) + 1))
        for start in range(0, len(others), at_once):
            part = others[start : start + at_once]
            for row, best in zip(part, self._best(numbers[part]), strict=True):
                found[row] = best
        return found

    def prepare(self, records: Sequence[Record]) -> dict[str, torch.Tensor]:
        """``users`` (N,) and ``items`` (N, 2): the item of each record twice, for any number may be asked for."""
        users, items = (torch.tensor([self._number(record, kind) for record in records]) for kind in ("user", "item"))
        return {"users": users, "items": items[:, None].repeat(1, 2)}

    def axes(self) -> Axes:
        return {"users": {0: "batch"}, "items": {0: "batch", 1: "choices"}}

    def made_up(self, num: int) -> Sequence[Record]:
        """Users and items that training knows."""
        columns = {kind: self.config["preprocessing"][f"{kind}_column"] for kind in ("user", "item")}
        drawn = {
            kind: torch.randint(len(self.names[f"{kind}s"]), (num,), generator=generator(num, len(kind), len(self.names[f"{kind}s"])))
            for kind in columns
        }
        return [{columns[kind]: self.names[f"{kind}s"][int(drawn[kind][row])] for kind in columns} for row in range(num)]

    def _scores(self, users: torch.Tensor, records: Sequence[Record]) -> list[float]:
        if not records:
            return []
        items = torch.tensor([[self._number(record, "item")] for record in records], device=self.device)
        scores = self.model(users.to(self.device), items).float().squeeze(1)
        if self.config["preprocessing"]["explicit"]:
            scores = scores.clamp(*self.config["preprocessing"]["rating_range"])
        found: list[float] = scores.tolist()
        return found

    def _best(self, users: torch.Tensor) -> Iterator[dict[str, Any]]:
        everything = torch.arange(len(self.names["items"]) + 1, device=self.device)
        scores = self.model(users.to(self.device), everything.expand(len(users), -1)).float()
        for row, user in enumerate(users.tolist()):
            scores[row, [UNKNOWN, *self.seen.get(user, [])]] = NEVER
        for row, top in enumerate(top_items(scores, min(AT, len(self.names["items"]))).tolist()):
            kept = [item for item in top if scores[row, item] > NEVER]
            yield {"items": [self.names["items"][item - 1] for item in kept], "scores": [scores[row, item].item() for item in kept]}

    def _number(self, record: Record, kind: str) -> int:
        name = self.named(record, kind)
        if kind == "user" and name is None:
            raise BadInput(f"there is no user: column {self.config['preprocessing']['user_column']!r} is missing or empty")
        return UNKNOWN if name is None else self.numbers[f"{kind}s"].get(name, UNKNOWN)

    def named(self, record: Record, kind: str) -> str | None:
        column = self.column_of(record, kind)
        return None if column is None or is_missing(record[column]) else as_category(record[column])

    def column_of(self, columns: Record, kind: str) -> str | None:
        """The one that training had, or one that is called alike."""
        return usual_column(columns, self.config["preprocessing"].get(f"{kind}_column"), NAMES[kind])

    def _read(self, path: Path) -> Table:
        findings = Findings()
        table = read_table(path, findings)
        try:
            findings.settle("fail")
        except InvalidData as error:
            raise BadInput(str(error)) from None
        return table


def _one_by_one(user: str | None, item: str | None, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "prediction" in found:
        yield {"input": user, "item": item, **found}
        return
    for best, score in zip(found["items"], found["scores"], strict=True):
        yield {"input": user, "item": best, "prediction": score}

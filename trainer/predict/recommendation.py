"""recommendation: tables with a user, or a user and an item, in each row."""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from trainer.data.cells import as_category
from trainer.data.findings import Findings
from trainer.data.ratings import NAMES, UNKNOWN
from trainer.data.table import READERS, Table, read_table
from trainer.errors import InvalidData
from trainer.predict import predictor
from trainer.predict.predictor import BadInput
from trainer.ranking_scores import AT, NEVER, top_items
from trainer.tensor_files import read_tensors


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

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        for path in inputs:
            table = self._read(Path(path))
            user_column, item_column = self._column(table, "user"), self._column(table, "item")
            if user_column is None:
                raise BadInput(f"{path} has no column {self.config['preprocessing']['user_column']!r}")
            users = table.columns[user_column]
            items = table.columns[item_column] if item_column else [None] * table.num_rows
            for user, item in zip(users, items, strict=True):
                number = self.numbers["users"].get(as_category(user), UNKNOWN)
                if item is None:
                    yield from self._best(as_category(user), number)
                else:
                    yield self._score(as_category(user), number, as_category(item))

    def _score(self, user: str, number: int, item: str) -> dict[str, Any]:
        items = torch.tensor([[self.numbers["items"].get(item, UNKNOWN)]], device=self.device)
        score = self.model(torch.tensor([number], device=self.device), items).item()
        if self.config["preprocessing"]["explicit"]:
            low, high = self.config["preprocessing"]["rating_range"]
            score = min(max(score, low), high)
        return {"input": user, "item": item, "prediction": score}

    def _best(self, user: str, number: int) -> Iterator[dict[str, Any]]:
        everything = torch.arange(len(self.names["items"]) + 1, device=self.device)
        scores = self.model(torch.tensor([number], device=self.device), everything).float()
        scores[0, [UNKNOWN, *self.seen.get(number, [])]] = NEVER
        for item in top_items(scores, min(AT, len(self.names["items"])))[0].tolist():
            if scores[0, item] > NEVER:
                yield {"input": user, "item": self.names["items"][item - 1], "prediction": scores[0, item].item()}

    def _column(self, table: Table, kind: str) -> str | None:
        """The one that training had, or one that is called alike."""
        own = self.config["preprocessing"][f"{kind}_column"]
        by_name = {name.strip().lower(): name for name in table.columns}
        return own if own in table.columns else next((by_name[name] for name in NAMES[kind] if name in by_name), None)

    def _read(self, path: Path) -> Table:
        findings = Findings()
        table = read_table(path, findings)
        try:
            findings.settle("fail")
        except InvalidData as error:
            raise BadInput(str(error)) from None
        return table

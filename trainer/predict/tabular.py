"""tabular: rows of CSV, TSV, JSON lines, JSON or parquet files."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from trainer.data.findings import Findings
from trainer.data.table import READERS, Table, read_table
from trainer.data.tabular_preprocessing import Preprocessing, check_numbers, preprocessing_from_json
from trainer.errors import InvalidData
from trainer.predict import predictor
from trainer.predict.predictor import BadInput


class Predictor(predictor.Predictor):
    suffixes = tuple(READERS)
    takes = "row"

    @cached_property
    def preprocessing(self) -> Preprocessing:
        return preprocessing_from_json(self.config["preprocessing"])

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        """A class with its probability, or a number, for each row of each file."""
        for path in inputs:
            table = self._read(Path(path))
            for start in range(0, table.num_rows, self.batch_size):
                stop = min(start + self.batch_size, table.num_rows)
                for row, found in zip(table.rows[start:stop], self._predict(table, start, stop), strict=True):
                    yield {"input": f"{path}:{row}", **found}

    def _read(self, path: Path) -> Table:
        """Columns that are not learned from may be there or not; what a model needs must be."""
        findings = Findings()
        table = read_table(path, findings)
        for name in self.preprocessing.names:
            table.column(name, findings)
        for numeric in self.preprocessing.numeric:
            check_numbers(numeric.name, table.columns.get(numeric.name, []), table.where, findings)
        try:
            findings.settle("fail")
        except InvalidData as error:
            raise BadInput(str(error)) from None
        return table

    def _predict(self, table: Table, start: int, stop: int) -> Iterator[dict[str, Any]]:
        cells = {name: column[start:stop] for name, column in table.columns.items()}
        numbers, categories = map(torch.from_numpy, self.preprocessing.apply(cells, stop - start))
        outputs = self.model(numbers.to(self.device), categories.to(self.device)).double()
        if self.config["kind"] == "regression":
            scaled = outputs.squeeze(1) * self.config["output"]["scale"] + self.config["output"]["centre"]
            yield from ({"prediction": value} for value in scaled.tolist())
            return
        for probability, number in zip(*(part.tolist() for part in outputs.softmax(1).max(1)), strict=True):
            yield {"prediction": self.config["labels"][number], "probability": round(probability, 6)}

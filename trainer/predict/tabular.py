"""tabular: rows of CSV, TSV, JSON lines, JSON or parquet files."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from trainer.data.cells import as_number, is_missing
from trainer.data.findings import Findings
from trainer.data.table import READERS, Table, read_table
from trainer.data.tabular_preprocessing import Preprocessing, check_numbers, preprocessing_from_json
from trainer.determinism import generator
from trainer.errors import InvalidData
from trainer.predict import predictor
from trainer.predict.predictor import Axes, BadInput, Record


class Predictor(predictor.Predictor):
    suffixes = tuple(READERS)
    takes = "row"

    @cached_property
    def preprocessing(self) -> Preprocessing:
        return preprocessing_from_json(self.config["preprocessing"])

    @property
    def needed_columns(self) -> list[str]:
        return self.preprocessing.names

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

    def answer(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        return list(self._answers(self.prepare(records)))

    def prepare(self, records: Sequence[Record]) -> dict[str, torch.Tensor]:
        """``numbers`` (N, F) and ``categories`` (N, C). A column that a record lacks is missing in it."""
        cells = {name: [record.get(name) for record in records] for name in self.preprocessing.names}
        for numeric in self.preprocessing.numeric:
            for cell in cells[numeric.name]:
                number = None if is_missing(cell) else as_number(cell)
                if not is_missing(cell) and (number is None or not math.isfinite(number)):
                    raise BadInput(f"column {numeric.name}: {cell!r} is not a {'number' if number is None else 'finite number'}")
        return self._prepared(cells, len(records))

    def axes(self) -> Axes:
        return {"numbers": {0: "batch"}, "categories": {0: "batch"}}

    def made_up(self, num: int) -> Sequence[Record]:
        """Numbers about the middle of their columns, categories that training knows."""
        draws = generator(num, len(self.preprocessing.names))
        records: list[Record] = []
        for _ in range(num):
            record: dict[str, Any] = {}
            for numeric in self.preprocessing.numeric:
                record[numeric.name] = numeric.fill + numeric.scale * float(torch.randn((), generator=draws))
            for column in self.preprocessing.categorical:
                place = int(torch.randint(len(column.values) + 1, (), generator=draws))
                record[column.name] = (*column.values, None)[place]
            records.append(record)
        return records

    def _prepared(self, cells: Mapping[str, Sequence[Any]], num_rows: int) -> dict[str, torch.Tensor]:
        numbers, categories = map(torch.from_numpy, self.preprocessing.apply(cells, num_rows))
        return {"numbers": numbers, "categories": categories}

    def _predict(self, table: Table, start: int, stop: int) -> Iterator[dict[str, Any]]:
        cells = {name: column[start:stop] for name, column in table.columns.items()}
        return self._answers(self._prepared(cells, stop - start))

    def _answers(self, batch: dict[str, torch.Tensor]) -> Iterator[dict[str, Any]]:
        outputs = self.model(**{name: tensor.to(self.device) for name, tensor in batch.items()}).double()
        if self.config["kind"] == "regression":
            scaled = outputs.squeeze(1) * self.config["output"]["scale"] + self.config["output"]["centre"]
            yield from ({"prediction": value} for value in scaled.tolist())
            return
        for probability, number in zip(*(part.tolist() for part in outputs.softmax(1).max(1)), strict=True):
            yield {"prediction": self.config["labels"][number], "probability": round(probability, 6)}

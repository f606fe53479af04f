"""Predictions for what is sent one by one (objects, texts, the bytes of images and recordings), each with its own error.

Predictors read files and lines; here these are made of what was sent, in a folder that is gone afterwards. What can be
predicted together is; what fails together is tried alone, so that one bad row costs no other its prediction.
"""

import json
import tempfile
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from trainer.predict.predictor import BadInput, Predictor

Row = Any  # a JSON value, or bytes
Result = dict[str, Any]  # {"prediction": {...}}, or {"error": "..."}
MOST_ERROR_CHARACTERS = 2_000


class RowPredictor:
    """``scratch`` is a folder for short-lived files."""

    # The decoders look at the bytes; these say only of what kind they are.
    _SUFFIXES: ClassVar[dict[str, str]] = {"image": ".png", "audio": ".wav"}

    def __init__(self, predictor: Predictor, scratch: Path) -> None:
        self._predictor = predictor
        self._scratch = scratch

    def predict(self, rows: Sequence[Row]) -> list[Result]:
        """One result for each row, in their order. Never raises for what is wrong with a row."""
        results: list[Result] = [{} for _ in rows]
        groups: dict[Hashable, list[int]] = {}
        for number, row in enumerate(rows):
            try:
                groups.setdefault(self._company(row, number), []).append(number)
            except BadInput as error:
                results[number] = {"error": str(error)}
        for numbers in groups.values():
            for number, result in zip(numbers, self._results([rows[number] for number in numbers]), strict=True):
                results[number] = result
        return results

    def _company(self, row: Row, number: int) -> Hashable:
        """Rows with the same answer may be predicted together. BadInput for a row of the wrong kind.

        Rows of a table share their columns: one that lacks a column must not find it there because of its neighbour.
        """
        takes = self._predictor.takes
        if takes in self._SUFFIXES:
            if not isinstance(row, bytes):
                raise BadInput(f'this model takes {"images" if takes == "image" else "recordings"}: {{"base64": "..."}}, or a file itself')
        elif takes == "row":
            if not isinstance(row, dict) or not row:
                raise BadInput("this model takes objects: a value for each column")
        else:
            _text_of(row)
        if not self._predictor.one_each:
            return number
        return frozenset(row) if isinstance(row, dict) and takes == "row" else True

    def _results(self, rows: list[Row]) -> Iterator[Result]:
        if len(rows) > 1:
            try:
                found = self._found(rows)
            except Exception:  # why: whatever one of the rows has caused, each is tried alone, and then the error has its place
                found = []
            if len(found) == len(rows):
                yield from ({"prediction": prediction} for prediction in found)
                return
        yield from (self._alone(row) for row in rows)

    def _alone(self, row: Row) -> Result:
        try:
            found = self._found([row])
        except BadInput as error:
            return {"error": str(error)[:MOST_ERROR_CHARACTERS]}
        except Exception as error:  # why: a row that breaks a model is that row's failure; the process serves the others
            return {"error": f"the model failed: {type(error).__name__}: {error}"[:MOST_ERROR_CHARACTERS]}
        if self._predictor.one_each and len(found) != 1:
            return {"error": f"the model answered {len(found)} predictions for one row"}
        return {"prediction": found[0] if self._predictor.one_each else {"predictions": found}}

    def _found(self, rows: list[Row]) -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            try:
                found = list(self._predictor.predict(self._inputs(rows, Path(folder))))
            except BadInput as error:
                raise BadInput(str(error).replace(f"{folder}/", "")) from None
        return [{name: value for name, value in prediction.items() if name != "input"} for prediction in found]

    def _inputs(self, rows: list[Row], folder: Path) -> list[Path] | list[str]:
        if self._predictor.takes == "row":
            table = folder / "row.jsonl"
            table.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            return [table]
        if self._predictor.takes == "text":
            return [_text_of(row) for row in rows]
        paths = [folder / f"{number}{self._SUFFIXES[self._predictor.takes]}" for number in range(len(rows))]
        for path, row in zip(paths, rows, strict=True):
            path.write_bytes(row)
        return paths


def _text_of(row: Row) -> str:
    """A text, or ``{"text": ...}``, or a pair of them as ``{"text": ..., "pair": ...}``, in the form that predictors take."""
    given = {"text": row} if isinstance(row, str) else row
    if (
        not isinstance(given, dict)
        or set(given) not in ({"text"}, {"text", "pair"})
        or not all(isinstance(it, str) for it in given.values())
    ):
        raise BadInput('this model takes texts: a string, {"text": ...}, or {"text": ..., "pair": ...}')
    text = str(given["text"])
    if not text.strip():
        raise BadInput("the text is empty")
    if "pair" not in given:
        return text
    if "\t" in text:
        raise BadInput("the first text of a pair must not hold a tab")
    return f"{text}\t{given['pair']}"

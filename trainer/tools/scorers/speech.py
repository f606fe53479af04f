"""Recognisers of speech: edits between what is said and what was understood."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from core.recipes.speech_recognition import Data
from trainer.data.audio import Unusable
from trainer.data.speech_inputs import padded
from trainer.data.speech_listing import list_speech
from trainer.edit_distance import count_errors
from trainer.losses import ctc
from trainer.predict.predictor import Record
from trainer.predict.rows import Row
from trainer.predict.speech_recognition import Predictor
from trainer.tools.scorers.scorer import RowScorer, Scoring

TEXT = "\x00text"


class Speech(RowScorer):
    """Texts are compared in small letters when the model writes no others."""

    def __init__(self, scoring: Scoring) -> None:
        super().__init__(scoring)
        assert isinstance(scoring.predictor, Predictor)
        self.predictor = scoring.predictor
        self.errors = [0, 0, 0, 0]
        self.loss, self.num_rows = 0.0, 0

    def rows(self, root: Path) -> Iterator[Row]:
        """Recordings are read one by one."""
        knobs, findings = self.scoring.spec.data, self.scoring.findings
        lowercase = all(letter == letter.lower() for letter in self.predictor.letters.letters)
        data = Data(text_column=knobs.label_column, split_column=knobs.split_column, lowercase=lowercase)
        listing, read = list_speech(root, data, findings)
        findings.settle("drop")
        for position, name in enumerate(listing.names):
            place = (listing.files[position], listing.rows[position])
            try:
                record = {self.predictor.content_column: read(name), TEXT: listing.texts[position], "name": name}
                yield Row(*place, record, listing.parts[position])
            except Unusable as error:
                yield Row(*place, {}, listing.parts[position], problem=f"{name}: {error}")

    def take(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        log_probs, frames = self.predictor.said(self.scoring.on_device(self.predictor.prepare(records)))
        texts = [str(record[TEXT]) for record in records]
        numbers, num_letters = padded([torch.tensor(self.predictor.letters.encode(text), dtype=torch.int64) for text in texts])
        losses = ctc(log_probs, numbers.to(log_probs.device), frames, num_letters.to(log_probs.device))
        said = self.predictor.written(log_probs, frames)
        self.loss += losses.double().sum().item()
        self.num_rows += len(records)
        self.errors = [total + num for total, num in zip(self.errors, count_errors(said, texts), strict=True)]
        rows = zip(records, texts, said, strict=True)
        return [{"recording": record["name"], "text": text, "prediction": prediction} for record, text, prediction in rows]

    def metrics(self) -> dict[str, float]:
        word_edits, words, letter_edits, letters = self.errors
        return {"loss": self.loss / max(self.num_rows, 1), "wer": word_edits / max(words, 1), "cer": letter_edits / max(letters, 1)}

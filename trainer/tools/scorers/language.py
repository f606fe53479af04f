"""Language models: how well the next token, or a masked one, is told."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.recipes.causal_language_modeling import Data as CausalData
from core.recipes.masked_language_modeling import Data as MaskedData
from core.recipes.masked_language_modeling import Training as MaskedTraining
from trainer.data.corpus import SPLITS, Corpus, read_given
from trainer.data.text.augment import Place
from trainer.data.text.columns import read_plain_texts
from trainer.data.text.masking import Masking
from trainer.data.token_files import TokenSplit, write_tokens
from trainer.language_scores import MaskedTally, score_next_tokens
from trainer.predict.causal_language_modeling import Predictor as CausalPredictor
from trainer.predict.masked_language_modeling import Predictor as MaskedPredictor
from trainer.predict.predictor import Record
from trainer.predict.rows import Row
from trainer.tasks.masked_language_modeling import told
from trainer.tools.prediction_file import PredictionFile
from trainer.tools.scorers.scorer import RowScorer, Scorer, Scoring

PLACE = -1  # of the epochs; the masks of evaluation are drawn there


class NextTokens(Scorer):
    """Texts as the model's training read them: one long row of tokens, or a row for each chat or completion."""

    def score(self, root: Path, file: PredictionFile) -> tuple[dict[str, float], int] | None:
        scoring, predictor = self.scoring, self.scoring.predictor
        assert isinstance(predictor, CausalPredictor)
        wanted, knobs = predictor.config["preprocessing"], scoring.spec.data
        named: dict[str, Any] = {"text_column": knobs.label_column} if knobs.label_column is not None else {}
        data = CausalData(format=wanted["format"], split_column=knobs.split_column, context_length=wanted["context_length"], **named)
        form, records = read_given(root, data, scoring.findings)
        chosen = [record for part, record in records if scoring.wants(part)]
        scoring.check_rows(len(chosen))
        corpus = Corpus(form, {split: chosen if split == "test" else [] for split in SPLITS})
        folder = scoring.run.dir.scratch / "tokens"
        folder.mkdir(exist_ok=True)
        write_tokens(folder, corpus, predictor.tokenizer, context=predictor.context, findings=scoring.findings)
        split = TokenSplit(folder, "test", vocab_size=predictor.tokenizer.vocab_size, context=predictor.context)
        scoring.check_rows(split.size.num_targets)
        with torch.inference_mode():
            score = score_next_tokens(predictor.model, split, scoring.run.ranks)
        return score.metrics, score.num_rows


class MaskedTokens(RowScorer):
    """Of each text, cut to what the model takes, a share is masked as training does by default; which tokens, the job's seed decides."""

    def __init__(self, scoring: Scoring) -> None:
        super().__init__(scoring)
        assert isinstance(scoring.predictor, MaskedPredictor)
        self.predictor, self.tally, self.num_taken = scoring.predictor, MaskedTally(), 0
        self.masking = Masking.by(MaskedTraining(), scoring.predictor.tokenizer)

    def rows(self, root: Path) -> Iterator[Row]:
        knobs = self.scoring.spec.data
        table = read_plain_texts(root, knobs.label_column, MaskedData(split_column=knobs.split_column), self.scoring.findings)
        self.scoring.findings.settle("drop")
        for position, text in enumerate(table.columns["text"]):
            yield Row(table.files[position], table.rows[position], {"text": text}, table.parts[position])

    def take(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        batch = self.predictor.prepare(records)
        rows = np.arange(self.num_taken, self.num_taken + len(records), dtype=np.int64)
        self.num_taken += len(records)
        masked = self.masking(batch, rows, Place(self.scoring.spec.seed, PLACE, 0))
        self.tally.add(*told(self.predictor.model, self.scoring.on_device(masked)))
        return [{"num_masked": num} for num in (masked["labels"] >= 0).sum(1).tolist()]

    def metrics(self) -> dict[str, float]:
        return self.tally.total(self.scoring.run.ranks)

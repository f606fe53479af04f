"""Fills in what ``[MASK]`` stands for in texts."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from trainer.data.text.token_ids import pad
from trainer.data.text.tokenizers import Tokenizer
from trainer.predict import predictor
from trainer.predict.predictor import Axes, BadInput, Record, text_in
from trainer.predict.texts import TABLES, made_up_texts, texts_of

NUM_CANDIDATES = 5


class Predictor(predictor.Predictor):
    suffixes = TABLES
    or_texts = True

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.folder / self.config["preprocessing"]["tokenizer"])

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        """``text`` with the likeliest tokens, and of each [MASK] the likeliest ones with their probabilities."""
        texts = [text for text, _ in texts_of(inputs, "text")]
        for start in range(0, len(texts), self.batch_size):
            part = texts[start : start + self.batch_size]
            yield from ({"input": text, **found} for text, found in zip(part, self._answers(part), strict=True))

    def answer(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        return self._answers([text_in(record) for record in records])

    def prepare(self, records: Sequence[Record]) -> dict[str, torch.Tensor]:
        """``ids`` and ``mask``, (N, L)."""
        return self._padded(self._framed([text_in(record) for record in records]))

    def axes(self) -> Axes:
        return {key: {0: "batch", 1: f"length<={self.config['preprocessing']['max_length']}"} for key in ("ids", "mask")}

    def made_up(self, num: int) -> Sequence[Record]:
        return [{"text": text} for text in made_up_texts(self.tokenizer, num)]

    def _framed(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer.frame_batch(texts, max_length=self.config["preprocessing"]["max_length"]).ids

    def _padded(self, ids: list[list[int]]) -> dict[str, torch.Tensor]:
        wanted = self.config["preprocessing"]
        return pad(ids, pad_id=wanted["pad_id"], longest=wanted["max_length"])

    def _answers(self, texts: list[str]) -> list[dict[str, Any]]:
        ids = self._framed(texts)
        batch = self._padded(ids)
        logits = self.model(ids=batch["ids"].to(self.device), mask=batch["mask"].to(self.device)).float()
        logits[..., list(self.tokenizer.special_ids)] = float("-inf")
        return [self._filled(self.tokenizer, own, found) for own, found in zip(ids, logits, strict=True)]

    def _filled(self, tokenizer: Tokenizer, ids: list[int], logits: torch.Tensor) -> dict[str, Any]:
        places = [place for place, number in enumerate(ids) if number == tokenizer.mask_id]
        if not places:
            raise BadInput("a text has no [MASK] to fill in")
        best = logits[places].softmax(1).topk(min(NUM_CANDIDATES, logits.shape[1]))
        filled = list(ids)
        for place, found in zip(places, best.indices[:, 0].tolist(), strict=True):
            filled[place] = found
        candidates = [
            [[tokenizer.token(number), round(probability, 6)] for number, probability in zip(numbers, probabilities, strict=True)]
            for numbers, probabilities in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        return {"text": tokenizer.decode(filled), "candidates": candidates}

"""Fills in what ``[MASK]`` stands for in texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from trainer.data.text.token_ids import pad
from trainer.data.text.tokenizers import Tokenizer
from trainer.predict import predictor
from trainer.predict.predictor import BadInput
from trainer.predict.texts import TABLES, texts_of

NUM_CANDIDATES = 5


class Predictor(predictor.Predictor):
    suffixes = TABLES
    or_texts = True

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        """``text`` with the likeliest tokens, and of each [MASK] the likeliest ones with their probabilities."""
        wanted = self.config["preprocessing"]
        tokenizer = Tokenizer.load(self.folder / wanted["tokenizer"])
        texts = [text for text, _ in texts_of(inputs, "text")]
        for start in range(0, len(texts), self.batch_size):
            part = texts[start : start + self.batch_size]
            framed = tokenizer.frame_batch(part, max_length=wanted["max_length"])
            batch = pad(framed.ids, pad_id=wanted["pad_id"], longest=wanted["max_length"])
            logits = self.model(ids=batch["ids"].to(self.device), mask=batch["mask"].to(self.device)).float()
            logits[..., list(tokenizer.special_ids)] = float("-inf")
            for number, text in enumerate(part):
                yield {"input": text, **self._filled(tokenizer, framed.ids[number], logits[number])}

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

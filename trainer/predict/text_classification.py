"""Classes of texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from trainer.data.text.token_ids import pad
from trainer.data.text.tokenizers import Tokenizer
from trainer.predict import predictor
from trainer.predict.texts import TABLES, texts_of

MOST_PROBABILITIES = 20


class Predictor(predictor.Predictor):
    suffixes = TABLES
    or_texts = True

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        """``probabilities`` are in the order of the package's labels, where these are few."""
        wanted = self.config["preprocessing"]
        tokenizer = Tokenizer.load(self.folder / wanted["tokenizer"])
        texts = texts_of(inputs, wanted["text_column"], wanted["text_pair_column"])
        for start in range(0, len(texts), self.batch_size):
            part = texts[start : start + self.batch_size]
            for (text, pair), probabilities in zip(part, self._probabilities(tokenizer, part), strict=True):
                yield {"input": text, **({"pair": pair} if pair is not None else {}), **self._prediction(probabilities)}

    def _probabilities(self, tokenizer: Tokenizer, texts: list[tuple[str, str | None]]) -> torch.Tensor:
        """(N, K), on the CPU."""
        wanted = self.config["preprocessing"]
        length = wanted["max_length"]
        second = [pair or "" for _, pair in texts] if wanted["text_pair_column"] else None
        framed = tokenizer.frame_batch([text for text, _ in texts], second, max_length=length)
        batch = pad(framed.ids, pad_id=wanted["pad_id"], longest=length)
        if "types" in self.config["input"]["order"]:
            batch["types"] = pad(framed.types, pad_id=0, longest=length)["ids"]
        logits: torch.Tensor = self.model(**{name: tensor.to(self.device) for name, tensor in batch.items()})
        return logits.float().softmax(1).cpu()

    def _prediction(self, probabilities: torch.Tensor) -> dict[str, Any]:
        best = int(probabilities.argmax())
        found = {"label": self.config["labels"][best], "probability": round(float(probabilities[best]), 6)}
        if len(probabilities) <= MOST_PROBABILITIES:
            found["probabilities"] = [round(value, 6) for value in probabilities.tolist()]
        return found

"""Classes of texts."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from trainer.data.text.token_ids import pad
from trainer.data.text.tokenizers import Tokenizer
from trainer.predict import predictor
from trainer.predict.predictor import SHORTEST_UNROLLED, Axes, Record
from trainer.predict.texts import TABLES, made_up_texts, tested_texts, texts_in, texts_of

MOST_PROBABILITIES = 20


class Predictor(predictor.Predictor):
    suffixes = TABLES
    or_texts = True

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.folder / self.config["preprocessing"]["tokenizer"])

    @property
    def columns(self) -> tuple[str, str | None]:
        """Where training had the texts, and the second ones of pairs."""
        return self.config["preprocessing"]["text_column"], self.config["preprocessing"]["text_pair_column"]

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        """``probabilities`` are in the order of the package's labels, where these are few."""
        texts = texts_of(inputs, *self.columns)
        for start in range(0, len(texts), self.batch_size):
            part = texts[start : start + self.batch_size]
            for (text, pair), found in zip(part, self._predictions(part), strict=True):
                yield {"input": text, **({"pair": pair} if pair is not None else {}), **found}

    def answer(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        return self._predictions(texts_in(records, *self.columns))

    def prepare(self, records: Sequence[Record]) -> dict[str, torch.Tensor]:
        """``ids`` and ``mask``, (N, L), and ``types`` where the model tells the texts of a pair apart."""
        return self._prepared(texts_in(records, *self.columns))

    def axes(self) -> Axes:
        wanted = self.config["preprocessing"]
        free = {0: "batch"} if self._is_unrolled else {0: "batch", 1: f"length<={wanted['max_length']}"}
        return dict.fromkeys(self.config["input"]["order"], free)

    @property
    def _is_unrolled(self) -> bool:
        """torch writes recurrent layers out step by step, and their length is fixed by that."""
        return bool(self.config.get("architecture", {}).get("family") == "recurrent")

    def fixed_sizes(self, records: Sequence[Record]) -> dict[str, dict[int, int]]:
        if not self._is_unrolled:
            return {}
        longest = self.prepare(records)["ids"].shape[1]
        length = max(longest, min(SHORTEST_UNROLLED, self.config["preprocessing"]["max_length"]))
        return {name: {1: length} for name in self.config["input"]["order"]}

    def made_up(self, num: int) -> Sequence[Record]:
        """Rows that the package was tested on, where it has them."""
        text, pair = self.columns
        tested = [
            {text: row["text"], **({pair: row["text_pair"]} if pair is not None else {})}
            for row in tested_texts(self.folder, num)
            if "text" in row and (pair is None or "text_pair" in row)
        ]
        texts = made_up_texts(self.tokenizer, num)
        return tested or [{text: one, **({pair: one} if pair is not None else {})} for one in texts]

    def _prepared(self, texts: Sequence[tuple[str, str | None]]) -> dict[str, torch.Tensor]:
        wanted = self.config["preprocessing"]
        length = wanted["max_length"]
        second = [pair or "" for _, pair in texts] if wanted["text_pair_column"] else None
        framed = self.tokenizer.frame_batch([text for text, _ in texts], second, max_length=length)
        batch = pad(framed.ids, pad_id=wanted["pad_id"], longest=length)
        if "types" in self.config["input"]["order"]:
            batch["types"] = pad(framed.types, pad_id=0, longest=length)["ids"]
        return batch

    def _predictions(self, texts: Sequence[tuple[str, str | None]]) -> list[dict[str, Any]]:
        batch = {name: tensor.to(self.device) for name, tensor in self._prepared(texts).items()}
        logits: torch.Tensor = self.model(**batch)
        return [self._prediction(probabilities) for probabilities in logits.float().softmax(1).cpu()]

    def _prediction(self, probabilities: torch.Tensor) -> dict[str, Any]:
        best = int(probabilities.argmax())
        found = {"label": self.config["labels"][best], "probability": round(float(probabilities[best]), 6)}
        if len(probabilities) <= MOST_PROBABILITIES:
            found["probabilities"] = [round(value, 6) for value in probabilities.tolist()]
        return found

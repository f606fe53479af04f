"""Entities of texts. A text is taken apart into words at spaces and signs, as the vocabulary of its training data mostly was."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer.data.tagged import NAMES
from trainer.data.text.tokenizers import FILE, Tokenizer
from trainer.data.words import MOST_LETTERS, TokenReader, WordReader
from trainer.entity_scores import entities_of
from trainer.predict import predictor
from trainer.predict.predictor import SHORTEST_UNROLLED, Axes, BadInput, Record, text_in
from trainer.predict.texts import tested_texts
from trainer.tagging import INPUTS, ask

# Runs of letters and digits, what begins with @ or # and addresses whole, "n't" and "'s" alone, and every other sign by itself.
WORDS = re.compile(r"https?://\S+|[@#]\w+|\w+(?=n't)|n't|'(?:s|m|re|ve|ll|d)\b|\w+(?:[-.]\w+)*|\S")

TOKENS = "tokens"


class Predictor(predictor.Predictor):
    ignored_names = (NAMES,)

    def __init__(self, folder: Path, config: dict[str, Any], model: nn.Module) -> None:
        super().__init__(folder, config, model)
        wanted = config["preprocessing"]
        self.reader = (
            TokenReader(Tokenizer.load(folder / FILE), wanted["longest"]) if wanted["vocabulary"] == FILE else WordReader.load(folder)
        )

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        """One object for each text: its ``entities``, each with type, text, and the characters ``start`` to ``end`` - 1."""
        texts = list(map(str, inputs))
        for start in range(0, len(texts), self.batch_size):
            part = texts[start : start + self.batch_size]
            found = [list(WORDS.finditer(text)) for text in part]
            for text, matches, tags in zip(part, found, self.tags([[match.group() for match in own] for own in found]), strict=True):
                yield {"input": text, "entities": _entities(text, matches, tags)}

    def answer(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """``entities`` of a text; of a record that has its words in ``tokens``, a list, their ``tags``."""
        if all(TOKENS in record for record in records):
            return [{"tags": tags} for tags in self.tags([words_in(record) for record in records])]
        found = [list(WORDS.finditer(text_in(record))) for record in records]
        texts = [text_in(record) for record in records]
        tags = self.tags([[match.group() for match in own] for own in found])
        return [{"entities": _entities(*one)} for one in zip(texts, found, tags, strict=True)]

    def prepare(self, records: Sequence[Record]) -> dict[str, torch.Tensor]:
        """``ids``, ``mask`` (N, L), or ``words``, ``letters``, ``mask`` of a model that reads letters."""
        batch = self.reader.read([words_in(record) for record in records])
        return {name: batch[name] for name in INPUTS if name in batch}

    def axes(self) -> Axes:
        names = self.config["input"]["order"]
        if isinstance(self.reader, WordReader):
            return {key: {0: "batch"} for key in names}
        return {key: {0: "batch", 1: f"length<={self.reader.longest}"} for key in names}

    def fixed_sizes(self, records: Sequence[Record]) -> dict[str, dict[int, int]]:
        """A model that reads letters is recurrent, and torch writes that out step by step."""
        if not isinstance(self.reader, WordReader):
            return {}
        length = max(self.prepare(records)["words"].shape[1], min(SHORTEST_UNROLLED, self.reader.longest))
        return {"words": {1: length}, "letters": {1: length, 2: MOST_LETTERS}, "mask": {1: length}}

    def made_up(self, num: int) -> Sequence[Record]:
        """Sentences that the package was tested on, where it has them."""
        tested = [{TOKENS: json.loads(row[TOKENS])} for row in tested_texts(self.folder, num) if TOKENS in row]
        return list(tested) or [{TOKENS: ["a"] * (1 + number)} for number in range(num)]

    def tags(self, sentences: list[list[str]]) -> list[list[str]]:
        """The tag of each word, O for words beyond what the model takes."""
        labels = self.config["labels"]
        batch = {name: tensor.to(self.device) for name, tensor in self.reader.read(sentences).items()}
        with torch.no_grad():
            said = ask(self.model, batch)
        rows = zip(sentences, said.tags().tolist(), said.mask.sum(1).tolist(), strict=True)
        return [[labels[tag] for tag in tags[:length]] + ["O"] * (len(words) - length) for words, tags, length in rows]


def _entities(text: str, matches: list[re.Match[str]], tags: list[str]) -> list[dict[str, Any]]:
    places = [(entity.type, matches[entity.start].start(), matches[entity.end - 1].end()) for entity in entities_of(tags)]
    return [{"type": kind, "text": text[start:end], "start": start, "end": end} for kind, start, end in places]


def words_in(record: Record) -> list[str]:
    """The words of a record: a list in ``tokens``, or those of its text. Raises BadInput."""
    words = record.get(TOKENS)
    if words is None:
        return [match.group() for match in WORDS.finditer(text_in(record))]
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise BadInput(f"column {TOKENS}: it is not a list of words")
    return words

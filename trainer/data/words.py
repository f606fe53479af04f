"""Sentences as models take them: words and letters by number, or tokens with the first one of each word."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from core.recipes.sections.text import TokenizerKnobs
from trainer.data.text.tokenizers import FILE, Tokenizer
from trainer.errors import InvalidData

VOCABULARY = "vocabulary.json"
PAD, UNKNOWN = 0, 1
MOST_LETTERS = 24  # of a word; the rest is cut
Batch = dict[str, torch.Tensor]


class Reader(Protocol):
    """``read``: sentences of words to a batch for the model, all tensors on the CPU, without those words of a sentence that are too
    many; ``save`` writes what reading needs."""

    def read(self, sentences: Sequence[Sequence[str]]) -> Batch: ...

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class WordReader:
    """``words`` (N, W), ``letters`` (N, W, C) and ``mask`` (N, W): numbers from 0, padding, and 1, unknown."""

    words: dict[str, int]
    letters: dict[str, int]
    lowercase: bool
    longest: int

    @classmethod
    def learn(cls, sentences: Sequence[Sequence[str]], knobs: TokenizerKnobs) -> "WordReader":
        """The most frequent words, the letters of all of them; ties in the order of the alphabet."""
        counts = Counter(_spelled(word, knobs.lowercase) for sentence in sentences for word in sentence)
        letters = Counter(letter for sentence in sentences for word in sentence for letter in word)
        frequent = (word for word in counts if counts[word] >= knobs.min_frequency)
        kept = sorted(frequent, key=lambda word: (-counts[word], word))[: knobs.vocab_size - 2]
        return cls(_numbered(kept), _numbered(sorted(letters)), knobs.lowercase, knobs.max_length)

    @classmethod
    def load(cls, folder: Path) -> "WordReader":
        try:
            content = json.loads((folder / VOCABULARY).read_text("utf-8"))
            return cls(_numbered(content["words"]), _numbered(content["letters"]), content["lowercase"], content["longest"])
        except (OSError, ValueError, KeyError) as error:
            raise InvalidData([f"the base model has no usable {VOCABULARY}: {error}"]) from error

    def save(self, folder: Path) -> None:
        content = {"words": list(self.words), "letters": list(self.letters), "lowercase": self.lowercase, "longest": self.longest}
        (folder / VOCABULARY).write_text(json.dumps(content, ensure_ascii=False), "utf-8")

    @property
    def sizes(self) -> dict[str, int]:
        return {"num_words": len(self.words) + 2, "num_characters": len(self.letters) + 2}

    def read(self, sentences: Sequence[Sequence[str]]) -> Batch:
        cut = [sentence[: self.longest] for sentence in sentences]
        most = max(len(sentence) for sentence in cut)
        longest = max(min(len(word), MOST_LETTERS) for sentence in cut for word in sentence)
        words = [[self.words.get(_spelled(word, self.lowercase), UNKNOWN) for word in sentence] for sentence in cut]
        letters = [[[self.letters.get(letter, UNKNOWN) for letter in word[:MOST_LETTERS]] for word in sentence] for sentence in cut]
        none = [PAD] * longest
        return {
            "words": torch.tensor([row + [PAD] * (most - len(row)) for row in words]),
            "letters": torch.tensor(
                [[word + none[len(word) :] for word in row] + [none] * (most - len(row)) for row in letters], dtype=torch.int64
            ),
            "mask": torch.tensor([[True] * len(row) + [False] * (most - len(row)) for row in words]),
        }


@dataclass(frozen=True, slots=True)
class TokenReader:
    """``ids`` and ``mask`` (N, L), and ``firsts`` (N, W): where the first token of each word stands, -1 for no word.

    A word without any token, such as a lone space, is read off the token before it.
    """

    tokenizer: Tokenizer
    longest: int

    def save(self, folder: Path) -> None:
        self.tokenizer.save(folder / FILE)

    def read(self, sentences: Sequence[Sequence[str]]) -> Batch:
        framed = self.tokenizer.frame_words(sentences, max_length=self.longest)
        firsts = [_firsts(words) for words in framed.words]
        most, longest = max(max(map(len, firsts)), 1), max(map(len, framed.ids))
        return {
            "ids": torch.tensor([row + [self.tokenizer.pad_id] * (longest - len(row)) for row in framed.ids]),
            "mask": torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in framed.ids]),
            "firsts": torch.tensor([row + [-1] * (most - len(row)) for row in firsts]),
        }


def _firsts(words: list[int]) -> list[int]:
    """From the word of each token to the first token of each word, up to the last word that has one."""
    places: dict[int, int] = {}
    for place, word in enumerate(words):
        if word >= 0:
            places.setdefault(word, place)
    found: list[int] = []
    for word in range(max(places, default=-1) + 1):
        found.append(places.get(word, found[-1] if found else 0))
    return found


def _spelled(word: str, lowercase: bool) -> str:
    """Digits are all alike."""
    word = word.lower() if lowercase else word
    return "".join("0" if letter.isdigit() else letter for letter in word)


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names, UNKNOWN + 1)}


def places_of(batch: Batch) -> torch.Tensor:
    """(N, W), true on words, whatever the reader."""
    return batch["firsts"] >= 0 if "firsts" in batch else batch["mask"]

"""Tokenizers: one face over the ``tokenizers`` library, and training one from texts so that the same texts give the same ids.

Every kind is kept as one ``tokenizer.json``, the library's own format; one that came with a Transformers model loads as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tokenizers

from trainer.errors import InvalidData

FILE = "tokenizer.json"
# The names that the same special token goes by in the wild; the first is our own.
_NAMES = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
    "end": ("<|endoftext|>", "</s>"),
}


@dataclass(frozen=True, slots=True)
class Framed:
    """Texts with their special tokens, cut to a length. ``types`` tells the first text (0) of a pair from the second (1)."""

    ids: list[list[int]]
    types: list[list[int]]
    num_truncated: int


@dataclass(frozen=True, slots=True)
class FramedWords:
    """Rows of words. ``words`` has, for each token, the number of its word in the row; -1 for special tokens."""

    ids: list[list[int]]
    words: list[list[int]]
    num_truncated: int


class Tokenizer:
    """Text to ids and back. ``pad_id`` always exists; the other special tokens are None where the vocabulary lacks them."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        inner.no_padding()
        inner.no_truncation()
        self.inner = inner
        self.unk_id, self.cls_id, self.sep_id = self._find("unk"), self._find("cls"), self._find("sep")
        self.mask_id, self.end_id = self._find("mask"), self._find("end")
        pad_id = self._find("pad")
        self.pad_id: int = (self.end_id or 0) if pad_id is None else pad_id

    @property
    def vocab_size(self) -> int:
        """Special tokens included."""
        return int(self.inner.get_vocab_size())

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ascending, each once."""
        found = (self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id, self.end_id)
        return tuple(sorted({number for number in found if number is not None}))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without special tokens, in full."""
        return [encoding.ids for encoding in self.inner.encode_batch(list(texts), add_special_tokens=False)]

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def frame_batch(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int) -> Framed:
        """``[CLS] text [SEP]``, or ``[CLS] text [SEP] pair [SEP]``; of a pair that is too long the longer text is cut first."""
        rows = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        encodings = self._cut(rows, max_length, is_pretokenized=False)
        return Framed(
            ids=[encoding.ids for encoding in encodings],
            types=[encoding.type_ids for encoding in encodings],
            num_truncated=sum(bool(encoding.overflowing) for encoding in encodings),
        )

    def frame_words(self, rows: Sequence[Sequence[str]], *, max_length: int) -> FramedWords:
        """The same for rows that are words already; a word may become several tokens, or none (a lone space)."""
        encodings = self._cut([list(row) for row in rows], max_length, is_pretokenized=True)
        return FramedWords(
            ids=[encoding.ids for encoding in encodings],
            words=[[-1 if word is None else word for word in encoding.word_ids] for encoding in encodings],
            num_truncated=sum(bool(encoding.overflowing) for encoding in encodings),
        )

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        return str(self.inner.decode(list(ids), skip_special_tokens=skip_special))

    def token(self, number: int) -> str:
        """The token of an id as the vocabulary spells it; empty for an id that it lacks."""
        return self.inner.id_to_token(number) or ""

    def save(self, path: Path) -> None:
        path.write_text(self.inner.to_str(), "utf-8")

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Raises InvalidData when the file is not there or is no tokenizer."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidData([f"{path.name} cannot be read: {error}"]) from error
        try:
            return cls(tokenizers.Tokenizer.from_str(text))
        except Exception as error:  # why: the library raises the bare class
            raise InvalidData([f"{path.name} is no tokenizer: {error}"]) from error

    def _find(self, which: str) -> int | None:
        numbers = (self.inner.token_to_id(name) for name in _NAMES[which])
        return next((int(number) for number in numbers if number is not None), None)

    def _cut(
        self, rows: list[str] | list[tuple[str, str]] | list[list[str]], max_length: int, *, is_pretokenized: bool
    ) -> list[tokenizers.Encoding]:
        self.inner.enable_truncation(max_length)
        try:
            return list(self.inner.encode_batch(rows, is_pretokenized=is_pretokenized))
        finally:
            self.inner.no_truncation()

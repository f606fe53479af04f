"""Tokens on disk: written once, then mapped into memory, so that a corpus may be larger than it. Two ways to read them.

A folder holds for each split ``<split>.tokens`` (uint16 where the vocabulary allows it, else uint32) and, where records are
rows of their own, ``<split>.counts`` (a byte per token: 1 where the loss counts it) and ``<split>.ends`` (int64 per row: where
it ends); and ``splits.json``, the sizes.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainer.data.corpus import SPLITS, Corpus, Record
from trainer.data.findings import Findings
from trainer.data.text.tokenizers import Tokenizer
from trainer.tasks.task import IGNORED

Rows = npt.NDArray[np.int64]
Ids = npt.NDArray[Any]
PIECE_CHARACTERS = 1 << 16  # a longer text is encoded in pieces, cut behind a line
BATCH_CHARACTERS = 1 << 21


@dataclass(frozen=True, slots=True)
class Size:
    """``num_targets`` tokens are predicted, which spell ``num_bytes`` bytes of UTF-8."""

    num_tokens: int
    num_rows: int
    num_targets: int
    num_bytes: int


def write_tokens(folder: Path, corpus: Corpus, tokenizer: Tokenizer, *, context: int, findings: Findings) -> None:
    sizes = {}
    for split in SPLITS:
        write = _write_rows if corpus.in_rows else _write_stream
        sizes[split] = asdict(write(folder / split, _Encoder(tokenizer, context, findings), corpus.records[split]))
    (folder / "splits.json").write_text(json.dumps({"format": corpus.format, "in_rows": corpus.in_rows, "sizes": sizes}))


def _write_stream(path: Path, encoder: "_Encoder", records: list[Record]) -> Size:
    num_tokens, first = 0, b""
    with path.with_suffix(".tokens").open("wb") as file:
        for ids, _ in encoder.encode(records):
            if not num_tokens and len(ids):
                first = encoder.tokenizer.decode(ids[:1].tolist()).encode()
            file.write(ids.tobytes())
            num_tokens += len(ids)
    num_bytes = sum(len(turn.text.encode()) for record in records for turn in record)
    return Size(num_tokens=num_tokens, num_rows=1, num_targets=max(num_tokens - 1, 0), num_bytes=num_bytes - len(first))


def _write_rows(path: Path, encoder: "_Encoder", records: list[Record]) -> Size:
    ends: list[int] = [0]
    num_targets = num_bytes = 0
    with path.with_suffix(".tokens").open("wb") as tokens, path.with_suffix(".counts").open("wb") as counts:
        for ids, counted in encoder.encode(records):
            if len(ids) > encoder.context + 1:
                encoder.findings.count("rows cut to context_length")
                ids, counted = ids[: encoder.context + 1], counted[: encoder.context + 1]
            if not counted[1:].any():
                encoder.findings.count("rows dropped because nothing that counts is within context_length")
                continue
            tokens.write(ids.tobytes())
            counts.write(counted.tobytes())
            ends.append(ends[-1] + len(ids))
            num_targets += int(counted[1:].sum())
            num_bytes += len(encoder.tokenizer.decode(ids[1:][counted[1:] > 0].tolist()).encode())
    np.array(ends[1:], dtype=np.int64).tofile(path.with_suffix(".ends"))
    return Size(num_tokens=ends[-1], num_rows=len(ends) - 1, num_targets=num_targets, num_bytes=num_bytes)


class _Encoder:
    def __init__(self, tokenizer: Tokenizer, context: int, findings: Findings) -> None:
        self.tokenizer, self.context, self.findings = tokenizer, context, findings
        self.type = token_type(tokenizer.vocab_size)

    def encode(self, records: list[Record]) -> Iterator[tuple[Ids, npt.NDArray[np.uint8]]]:
        """The token numbers of each record, and 1 for each that counts."""
        for batch in _batches(records):
            ids = iter(encode_plain(self.tokenizer, [turn.text for record in batch for turn in record]))
            for record in batch:
                yield self._join(record, [next(ids) for _ in record])

    def _join(self, record: Record, ids_of_turns: list[list[int]]) -> tuple[Ids, npt.NDArray[np.uint8]]:
        ids: list[int] = []
        counted: list[int] = []
        for turn, own in zip(record, ids_of_turns, strict=True):
            mark, end = (
                mark_ids(self.tokenizer, turn.mark),
                [self.tokenizer.end_id] if turn.ends and self.tokenizer.end_id is not None else [],
            )
            ids += [*mark, *own, *end]
            counted += [0] * len(mark) + [int(turn.counts)] * (len(own) + len(end))
        return np.array(ids, dtype=self.type), np.array(counted, dtype=np.uint8)


def mark_ids(tokenizer: Tokenizer, mark: str) -> list[int]:
    """One token where the vocabulary has it, else its letters'."""
    if not mark:
        return []
    number = tokenizer.inner.token_to_id(mark)
    return [int(number)] if number is not None else tokenizer.encode(mark)


def encode_plain(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text. A text that spells a special token gets its letters: what a user writes cannot end a turn."""
    pieces = [list(_pieces(text)) for text in texts]
    tokenizer.inner.encode_special_tokens = True
    try:
        encoded = iter(tokenizer.encode_batch([piece for own in pieces for piece in own]))
    finally:
        tokenizer.inner.encode_special_tokens = False
    return [[number for _ in own for number in next(encoded)] for own in pieces]


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        line_end = text.rfind("\n", start, start + PIECE_CHARACTERS) + 1
        end = line_end if line_end > start else start + PIECE_CHARACTERS
        yield text[start:end]
        start = end
    yield text[start:]


def _batches(records: list[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    num_characters = 0
    for record in records:
        batch.append(record)
        num_characters += sum(len(turn.text) for turn in record)
        if num_characters > BATCH_CHARACTERS:
            yield batch
            batch, num_characters = [], 0
    if batch:
        yield batch


def token_type(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


class TokenSplit:
    """One split of a folder that ``write_tokens`` filled. Batches are (inputs, labels), (N, T) int64 each; IGNORED labels do not count."""

    def __init__(self, folder: Path, split: str, *, vocab_size: int, context: int) -> None:
        described = json.loads((folder / "splits.json").read_text())
        self.size, self.format, self.in_rows = Size(**described["sizes"][split]), str(described["format"]), bool(described["in_rows"])
        self.context = context
        self.tokens = _mapped((folder / split).with_suffix(".tokens"), token_type(vocab_size))
        if self.in_rows:
            self.counts = _mapped((folder / split).with_suffix(".counts"), np.uint8)
            self.ends = np.fromfile((folder / split).with_suffix(".ends"), dtype=np.int64)

    def __len__(self) -> int:
        """Rows, or blocks of ``context`` predictions, the last of them perhaps shorter."""
        return self.size.num_rows if self.in_rows else -(-self.size.num_targets // self.context)

    def batch(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows, padded to the longest of them; or blocks of ``context`` tokens, where every prediction of the split stands once."""
        return self._rows(rows) if self.in_rows else self._blocks(rows)

    def ring(self, starts: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Whole blocks from any places; behind the last token comes the first."""
        found = self._take((starts[:, None] + np.arange(self.context + 1)) % len(self.tokens))
        return found[:, :-1], found[:, 1:]

    def _blocks(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        places = rows[:, None] * self.context + np.arange(self.context + 1)
        last = len(self.tokens) - 1
        found = self._take(np.minimum(places, last))
        labels = found[:, 1:].masked_fill(torch.from_numpy(places[:, 1:] > last), IGNORED)
        return found[:, :-1], labels

    def _take(self, places: Rows) -> torch.Tensor:
        return torch.from_numpy(self.tokens[places].astype(np.int64))

    def _rows(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        starts, ends = np.where(rows > 0, self.ends[rows - 1], 0), self.ends[rows]
        longest = int((ends - starts).max()) - 1
        inputs, labels = torch.zeros(len(rows), longest, dtype=torch.int64), torch.full((len(rows), longest), IGNORED)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            ids = self._take(np.arange(start, end))
            counted = torch.from_numpy(self.counts[start + 1 : end] > 0)
            inputs[number, : len(ids) - 1] = ids[:-1]
            labels[number, : len(ids) - 1] = torch.where(counted, ids[1:], IGNORED)
        return inputs, labels

    def prompt(self, num_tokens: int) -> torch.Tensor:
        """How the split begins, (1, T): a few tokens, or a row up to what counts first."""
        if self.in_rows and self.size.num_rows:
            first = int(np.argmax(self.counts[1 : self.ends[0]])) + 1
            return torch.from_numpy(self.tokens[:first].astype(np.int64)).unsqueeze(0)
        return torch.from_numpy(self.tokens[:num_tokens].astype(np.int64)).unsqueeze(0)


def _mapped(path: Path, kind: type[Any]) -> Ids:
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.zeros(0, dtype=kind)

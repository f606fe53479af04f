"""Texts as rows of tokens for masked-language modelling: blocks of one length, or a row for each text."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.recipes.masked_language_modeling import Data
from trainer.data.findings import Findings
from trainer.data.splits import Splits
from trainer.data.text.columns import read_plain_texts, split_texts
from trainer.data.text.prepare import CHUNK, Prepared, TokenizerPlan, digest_of, load, save
from trainer.data.text.token_ids import write_ids
from trainer.data.text.tokenizers import Tokenizer
from trainer.errors import InvalidData
from trainer.state import Run

SPLITS = ("train", "validation", "test")
Texts = dict[str, list[str]]


def read_texts(root: Path, knobs: Data, *, seed: int, findings: Findings) -> Texts:
    """The texts of each split. Raises InvalidData with everything that is wrong, as ``knobs.on_bad_rows`` says."""
    table = read_plain_texts(root, knobs.text_column, knobs, findings)
    texts = table.columns["text"]
    splits = split_texts(table, texts, knobs, seed=seed, findings=findings)
    findings.settle(knobs.on_bad_rows)
    return {split: [texts[row] for row in getattr(splits, split).tolist()] for split in SPLITS}


def pack_texts(run: Run, plan: TokenizerPlan, texts: Texts, packing: str) -> Prepared:
    """A collective. The rows of training come first, then those of validation, then those of test; ``splits_of`` tells them apart."""

    def build(folder: Path) -> None:
        tokenizer = plan.make(texts["train"])
        if tokenizer.mask_id is None or tokenizer.cls_id is None or tokenizer.sep_id is None:
            raise InvalidData(["the base model's tokenizer has no [CLS], [SEP] and [MASK]"])
        rows_of = _blocks if packing == "blocks" else _lines
        stats: dict[str, Any] = {"num_truncated": 0, "num_empty": 0, "num_rows": {}}
        rows: list[list[int]] = []
        for split in SPLITS:
            first = len(rows)
            rows += _with_something_to_tell(rows_of(tokenizer, texts[split], plan.max_length, stats), tokenizer, stats)
            stats["num_rows"][split] = len(rows) - first
        if not all(stats["num_rows"].values()):
            raise InvalidData([f"a split is empty once it is tokenized: rows {stats['num_rows']}"])
        write_ids(folder, rows)
        save(folder, tokenizer, stats)

    key = {"what": "packed texts", "packing": packing, "texts": digest_of(*(texts[split] for split in SPLITS)), **plan.key()}
    return load(run, key, build)


def splits_of(num_rows: dict[str, int]) -> Splits:
    ends = np.cumsum([num_rows[split] for split in SPLITS])
    train, validation, test = (np.arange(end - num_rows[split], end, dtype=np.int64) for end, split in zip(ends, SPLITS, strict=True))
    return Splits(train=train, validation=validation, test=test)


def _blocks(tokenizer: Tokenizer, texts: Sequence[str], max_length: int, stats: dict[str, Any]) -> Iterator[list[int]]:
    """``[CLS] text [SEP] text [SEP] te``, ``[CLS] xt [SEP] ...``: all of one length but the last. No token is lost."""
    room, open_row = max_length - 2, list[int]()
    for start in range(0, len(texts), CHUNK):
        for ids in tokenizer.encode_batch(texts[start : start + CHUNK]):
            open_row += [*ids, tokenizer.sep_id or 0]
            while len(open_row) > room:
                yield [tokenizer.cls_id or 0, *open_row[:room], tokenizer.sep_id or 0]
                open_row = open_row[room:]
    yield [tokenizer.cls_id or 0, *open_row]


def _lines(tokenizer: Tokenizer, texts: Sequence[str], max_length: int, stats: dict[str, Any]) -> Iterator[list[int]]:
    for start in range(0, len(texts), CHUNK):
        framed = tokenizer.frame_batch(texts[start : start + CHUNK], max_length=max_length)
        stats["num_truncated"] += framed.num_truncated
        yield from framed.ids


def _with_something_to_tell(rows: Iterator[list[int]], tokenizer: Tokenizer, stats: dict[str, Any]) -> Iterator[list[int]]:
    """A row of nothing but special and unknown tokens has nothing that could be masked."""
    special = set(tokenizer.special_ids)
    for row in rows:
        if set(row) <= special:
            stats["num_empty"] += 1
        else:
            yield row

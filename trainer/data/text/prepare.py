"""Texts tokenized once: by the base model's tokenizer, or by one that is trained on the training split."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.recipes.sections.text import TokenizerKnobs
from trainer.data.cache import content_digest, prepared
from trainer.data.text.base import BaseModel
from trainer.data.text.token_ids import TokenIds, write_ids
from trainer.data.text.tokenizers import FILE, Tokenizer
from trainer.data.text.vocabularies import Kind, train_tokenizer
from trainer.errors import InvalidData
from trainer.state import Run

VERSION = 1  # of what lies in a folder; another number and all is tokenized anew
CHUNK = 10_000  # texts at once
STATS = "stats.json"


@dataclass(frozen=True, slots=True)
class TokenizerPlan:
    """Which tokenizer it will be. ``file`` is the base model's; without one ``kind`` is trained on the texts that it is given."""

    kind: Kind
    knobs: TokenizerKnobs
    max_length: int
    file: Path | None = None

    def key(self) -> dict[str, Any]:
        if self.file is not None:
            return {"tokenizer": content_digest(self.file), "max_length": self.max_length}
        return {"kind": self.kind, **self.knobs.model_dump(exclude={"kind"}), "max_length": self.max_length}

    def make(self, texts: Sequence[str]) -> Tokenizer:
        if self.file is not None:
            return Tokenizer.load(self.file)
        knobs = self.knobs
        return train_tokenizer(self.kind, texts, knobs.vocab_size, lowercase=knobs.lowercase, min_frequency=knobs.min_frequency)


@dataclass(frozen=True, slots=True)
class Prepared:
    """``stats`` is JSON that was found on the way: ``num_truncated``, and what else the builder counts."""

    tokenizer: Tokenizer
    ids: TokenIds
    stats: dict[str, Any]


def plan_tokenizer(knobs: TokenizerKnobs, base: BaseModel | None, *, auto: Kind, limit: int | None = None) -> TokenizerPlan:
    """``auto`` is what the recipe takes where the spec does not choose; ``limit`` how long a text the model can take.

    InvalidData when a base model comes without its tokenizer: its embeddings are of tokens that only that one knows.
    """
    if base is not None and base.tokenizer is None:
        raise InvalidData([f"the base model has no {FILE}; of a Transformers model its fast tokenizer writes one"])
    kind = auto if knobs.kind == "auto" else knobs.kind
    length = min(knobs.max_length, limit) if limit is not None else knobs.max_length
    return TokenizerPlan(kind=kind, knobs=knobs, max_length=length, file=base.tokenizer if base else None)


def frame_texts(run: Run, plan: TokenizerPlan, texts: Sequence[str], pairs: Sequence[str] | None, learned_from: Sequence[int]) -> Prepared:
    """A collective. A framed row for each text, or pair. A tokenizer is trained on the rows ``learned_from`` alone."""

    def build(folder: Path) -> None:
        own = [texts[row] for row in learned_from] + ([pairs[row] for row in learned_from] if pairs else [])
        tokenizer = plan.make(own)
        ids: list[list[int]] = []
        types: list[list[int]] = []
        num_truncated = 0
        for start in range(0, len(texts), CHUNK):
            part = slice(start, start + CHUNK)
            framed = tokenizer.frame_batch(texts[part], pairs[part] if pairs else None, max_length=plan.max_length)
            ids += framed.ids
            types += framed.types if pairs else []
            num_truncated += framed.num_truncated
        write_ids(folder, ids, types if pairs else None)
        save(folder, tokenizer, {"num_truncated": num_truncated})

    key = {"what": "framed texts", "texts": digest_of(texts, pairs or []), **plan.key()}
    if plan.file is None:
        key["learned_from"] = digest_of([str(row) for row in learned_from])
    return load(run, key, build)


def load(run: Run, key: dict[str, Any], build: Callable[[Path], None]) -> Prepared:
    """A collective. ``build`` writes ids (``write_ids``) and what ``save`` writes into the folder that it is given."""
    folder = prepared(run, {"version": VERSION, **key}, build)
    return Prepared(Tokenizer.load(folder / FILE), TokenIds(folder), json.loads((folder / STATS).read_text()))


def save(folder: Path, tokenizer: Tokenizer, stats: dict[str, Any]) -> None:
    tokenizer.save(folder / FILE)
    (folder / STATS).write_text(json.dumps(stats))


def digest_of(*lists: Sequence[str]) -> str:
    """SHA-256 of lists of texts: other texts, another order or other borders give another."""
    digest = hashlib.sha256()
    for texts in lists:
        digest.update(f"{len(texts)}\n".encode())
        for text in texts:
            data = text.encode()
            digest.update(f"{len(data)}\n".encode() + data)
    return digest.hexdigest()

"""What a causal language model learns from, made ready once: tokenizer, tokens of each split, and what was found in the data."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.recipes.causal_language_modeling import CausalLanguageModelingSpec, Data
from trainer.data.cache import content_digest, data_digest, prepared
from trainer.data.corpus import ROLES, Corpus, read_corpus
from trainer.data.findings import Findings
from trainer.data.text.base import BaseModel, read_base
from trainer.data.text.tokenizers import FILE, Tokenizer
from trainer.data.text.vocabularies import train_tokenizer
from trainer.data.token_files import Size, TokenSplit, write_tokens
from trainer.errors import InvalidData
from trainer.state import Run

FORMAT = 1  # of the prepared folder; another number makes all that was prepared before unknown
PIECE = 1 << 16  # characters that a tokenizer is trained on at once


@dataclass(frozen=True, slots=True)
class Language:
    """``test`` is the validation split where none was set apart."""

    tokenizer: Tokenizer
    train: TokenSplit
    validation: TokenSplit
    test: TokenSplit
    report: dict[str, Any]
    has_test: bool
    base: BaseModel | None


def prepare_language(run: Run, spec: CausalLanguageModelingSpec, root: Path) -> Language:
    """What lies in ``root``. A collective. Raises InvalidData with everything that is wrong."""
    base = Path(run.file.base_model_dir) if run.file.base_model_dir else None
    key = {"recipe": spec.recipe, "format": FORMAT, "data": data_digest(run), "knobs": spec.data.model_dump(mode="json"), "seed": spec.seed}
    if base is not None:
        key["tokenizer"] = content_digest(base / FILE) if (base / FILE).is_file() else None
    folder = prepared(run, key, lambda folder: _prepare(folder, root, base, spec))
    tokenizer = Tokenizer.load(folder / FILE)
    shape = {"vocab_size": tokenizer.vocab_size, "context": spec.data.context_length}
    splits = {split: TokenSplit(folder, split, **shape) for split in ("train", "validation", "test")}
    has_test = len(splits["test"]) > 0
    report = json.loads((folder / "report.json").read_text())
    report["splits"] = {name: len(split) for name, split in splits.items() if len(split)}
    test = splits["test"] if has_test else splits["validation"]
    return Language(tokenizer, splits["train"], splits["validation"], test, report, has_test, read_base(run.file.base_model_dir))


def _prepare(folder: Path, root: Path, base: Path | None, spec: CausalLanguageModelingSpec) -> None:
    findings, knobs = Findings(), spec.data
    corpus = read_corpus(root, knobs, seed=spec.seed, findings=findings)
    findings.settle(knobs.on_bad_rows)
    tokenizer = _load_base(base) if base is not None else _train(corpus, knobs)
    write_tokens(folder, corpus, tokenizer, context=knobs.context_length, findings=findings)
    sizes = {split: Size(**size) for split, size in json.loads((folder / "splits.json").read_text())["sizes"].items()}
    _check_sizes(sizes, corpus, knobs, findings)
    findings.settle(knobs.on_bad_rows)
    tokenizer.save(folder / FILE)
    (folder / "report.json").write_text(json.dumps({**findings.report(), "sizes": {split: asdict(size) for split, size in sizes.items()}}))


def _check_sizes(sizes: dict[str, Size], corpus: Corpus, knobs: Data, findings: Findings) -> None:
    least = {"train": 1 if corpus.in_rows else knobs.context_length, "validation": 1}
    for split, needed in least.items():
        if sizes[split].num_targets < needed:
            why = f"; a block of context_length {knobs.context_length} needs one more than that" if needed > 1 else ""
            findings.fatal(f"the {split} split has {sizes[split].num_tokens} tokens{why}")


def _load_base(folder: Path) -> Tokenizer:
    if not (folder / FILE).is_file():
        raise InvalidData([f"the base model has no {FILE}, which says how its tokens are numbered"])
    return Tokenizer.load(folder / FILE)


def _train(corpus: Corpus, knobs: Data) -> Tokenizer:
    """From the training split alone."""
    texts = [text[start : start + PIECE] for text in corpus.texts("train") for start in range(0, len(text), PIECE)]
    tokenizer = train_tokenizer(knobs.tokenizer, texts, knobs.vocabulary, framing="generation")
    if any(turn.mark for record in corpus.records["train"] for turn in record):
        tokenizer.inner.add_special_tokens(list(ROLES.values()))
    return Tokenizer(tokenizer.inner)

"""Training a tokenizer: byte-level BPE, WordPiece, words or characters. The same texts give the same ids in every process."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from trainer.data.text.tokenizers import Tokenizer

Kind = Literal["bpe", "wordpiece", "word", "char"]
Framing = Literal["encoder", "generation"]

ENCODER_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
END_OF_TEXT = "<|endoftext|>"
MOST_CHARACTERS = 1000  # WordPiece keeps so many single characters, as BERT's did; rarer ones become [UNK]
CONTINUES = "##"


def train_tokenizer(
    kind: Kind, texts: Sequence[str], vocab_size: int, *, lowercase: bool = False, min_frequency: int = 1, framing: Framing = "encoder"
) -> Tokenizer:
    """A tokenizer of at most ``vocab_size`` tokens, special ones included (byte-level BPE has 256 at least beside them).

    ``framing`` encoder: [PAD] [UNK] [CLS] [SEP] [MASK] are ids 0 to 4, and texts can be framed; generation: <|endoftext|>
    is id 0, and decoding gives back the text that was encoded. ``min_frequency``: rarer words, or rarer pairs that BPE and
    WordPiece could merge, get no token of their own.
    """
    special = list(ENCODER_TOKENS) if framing == "encoder" else [END_OF_TEXT, *(["[UNK]"] if kind in ("word", "char") else [])]
    make = {"bpe": _bpe, "wordpiece": _wordpiece, "word": _words, "char": _characters}[kind]
    inner = make(texts, vocab_size, special, lowercase, min_frequency)
    inner.add_special_tokens(special)
    if framing == "encoder":
        inner.post_processor = _framing(inner)
        if kind == "bpe":  # a word begins with a space wherever it stands, so that rows of words are tokenized as texts are
            inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return Tokenizer(inner)


def _bpe(texts: Sequence[str], vocab_size: int, special: list[str], lowercase: bool, min_frequency: int) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.BPE())
    inner.normalizer = normalizers.Lowercase() if lowercase else None
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space="[CLS]" in special)
    inner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    knobs: dict[str, Any] = {"vocab_size": vocab_size, "min_frequency": min_frequency, "show_progress": False}
    inner.train_from_iterator(texts, trainers.BpeTrainer(special_tokens=special, **knobs, initial_alphabet=alphabet))
    return inner


def _wordpiece(texts: Sequence[str], vocab_size: int, special: list[str], lowercase: bool, min_frequency: int) -> tokenizers.Tokenizer:
    """The library numbers continuing characters (##a) as its hash table comes, which differs from process to process and decides ties.

    Naming them as special tokens fixes their ids; what was learned then moves into a tokenizer in which they are none.
    """
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    counts = Counter("".join(normalizer.normalize_str(text) for text in texts))
    characters = sorted((c for c in counts if not c.isspace()), key=lambda c: (-counts[c], c))
    rare = str.maketrans(dict.fromkeys(characters[MOST_CHARACTERS:], " "))
    continuing = [CONTINUES + character for character in sorted(characters[:MOST_CHARACTERS])]
    learner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer, learner.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    knobs: dict[str, Any] = {"vocab_size": vocab_size, "min_frequency": min_frequency, "show_progress": False}
    learner.train_from_iterator(
        (text.translate(rare) for text in texts), trainers.WordPieceTrainer(special_tokens=special + continuing, **knobs)
    )
    inner = tokenizers.Tokenizer(models.WordPiece(learner.get_vocab(with_added_tokens=True), unk_token="[UNK]"))
    inner.normalizer, inner.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece(prefix=CONTINUES)
    return inner


def _words(texts: Sequence[str], vocab_size: int, special: list[str], lowercase: bool, min_frequency: int) -> tokenizers.Tokenizer:
    """Runs of letters and digits, and runs of other signs."""
    inner = tokenizers.Tokenizer(models.WordLevel(unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase() if lowercase else None
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    knobs: dict[str, Any] = {"vocab_size": vocab_size, "min_frequency": min_frequency, "show_progress": False}
    inner.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=special, **knobs))
    return inner


def _characters(texts: Sequence[str], vocab_size: int, special: list[str], lowercase: bool, min_frequency: int) -> tokenizers.Tokenizer:
    """Spaces and line breaks included: decoding gives back every character that has an id."""
    normalizer = normalizers.Lowercase() if lowercase else None
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text) if normalizer else text)
    kept = sorted((c for c in counts if counts[c] >= min_frequency), key=lambda c: (-counts[c], c))[: max(vocab_size - len(special), 1)]
    inner = tokenizers.Tokenizer(models.WordLevel({token: number for number, token in enumerate([*special, *kept])}, unk_token="[UNK]"))
    inner.normalizer = normalizer
    inner.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    return inner


def _framing(inner: tokenizers.Tokenizer) -> processors.TemplateProcessing:
    ends = [(token, inner.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    return processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends)

"""Tokenizers: the same texts give the same ids in every process, framing and cutting, and what decoding gives back."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.data.text.tokenizers import FILE, Tokenizer
from trainer.data.text.vocabularies import Kind, train_tokenizer
from trainer.errors import InvalidData

KINDS: tuple[Kind, ...] = ("bpe", "wordpiece", "word", "char")
SYLLABLES = ("ka", "lo", "mi", "ru", "te", "sa", "no", "pi")
PROGRAM = """
import hashlib, json, sys
from trainer.data.text.vocabularies import train_tokenizer
texts = json.loads(sys.stdin.read())
for kind in ("bpe", "wordpiece", "word", "char"):
    print(hashlib.sha256(train_tokenizer(kind, texts, 400).inner.to_str().encode()).hexdigest())
"""


def texts_of(num: int) -> list[str]:
    draw = random.Random(7)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(120)]
    return [" ".join(draw.choices(words, k=8)).capitalize() + "." for _ in range(num)]


def test_two_processes_learn_the_same_tokenizers() -> None:
    """The library's own WordPiece trainer does not pass this: its hash tables differ from process to process."""
    texts = json.dumps(texts_of(200))
    said = [
        subprocess.run([sys.executable, "-c", PROGRAM], input=texts, capture_output=True, text=True, check=True).stdout for _ in range(2)
    ]

    assert said[0] == said[1]
    assert len(set(said[0].split())) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_gives_the_same_ids(kind: Kind, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(kind, texts_of(50), 400)
    tokenizer.save(tmp_path / FILE)
    loaded = Tokenizer.load(tmp_path / FILE)

    assert loaded.encode_batch(texts_of(60)) == tokenizer.encode_batch(texts_of(60))
    assert (loaded.pad_id, loaded.unk_id, loaded.cls_id, loaded.sep_id, loaded.mask_id) == (0, 1, 2, 3, 4)
    assert loaded.special_ids == (0, 1, 2, 3, 4)
    assert loaded.vocab_size <= 400


@pytest.mark.parametrize("kind", ["bpe", "char"])
@pytest.mark.parametrize("text", ["Two  spaces,\na line\n\n  and its indent", " ends with a space ", "naïve 你好 😀"])
def test_generation_gets_back_every_character(kind: Kind, text: str) -> None:
    tokenizer = train_tokenizer(kind, [text, "more text"], 600, framing="generation")

    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.end_id == 0


def test_bytes_that_were_never_seen_still_have_tokens() -> None:
    tokenizer = train_tokenizer("bpe", ["plain"], 300, framing="generation")

    assert tokenizer.decode(tokenizer.encode("Ωμέγα 🚀")) == "Ωμέγα 🚀"


@pytest.mark.parametrize("kind", KINDS)
def test_lower_case_makes_cases_alike(kind: Kind) -> None:
    texts = ["Loud and quiet", "LOUD AND QUIET"]
    folded, plain = train_tokenizer(kind, texts, 400, lowercase=True), train_tokenizer(kind, texts, 400)

    assert folded.encode("Loud") == folded.encode("LOUD") == folded.encode("loud")
    assert plain.encode("Loud") != plain.encode("LOUD")


@pytest.mark.parametrize("kind", KINDS)
def test_framed_texts_are_cut_to_their_length_and_counted(kind: Kind) -> None:
    tokenizer = train_tokenizer(kind, texts_of(50), 400)
    long, short = "kalo " * 30, "kalo"
    framed = tokenizer.frame_batch([short, long], max_length=9)

    assert framed.num_truncated == 1
    assert [len(ids) <= 9 for ids in framed.ids] == [True, True]
    for ids in framed.ids:
        assert (ids[0], ids[-1]) == (tokenizer.cls_id, tokenizer.sep_id)
    assert framed.ids[0][1:-1] == tokenizer.encode(short)
    assert len(tokenizer.encode(long)) > 9, "cutting does not outlast the call"


def test_of_a_pair_the_longer_text_is_cut_and_types_tell_them_apart() -> None:
    tokenizer = train_tokenizer("word", texts_of(50), 400)
    framed = tokenizer.frame_batch(["a b c d e f g h", "a"], ["x y", "x y"], max_length=9)

    assert framed.types[0] == [0] * 6 + [1] * 3
    assert framed.types[1] == [0] * 3 + [1] * 3
    assert framed.num_truncated == 1


@pytest.mark.parametrize("kind", KINDS)
def test_each_token_knows_its_word(kind: Kind) -> None:
    tokenizer = train_tokenizer(kind, texts_of(50), 400)
    row = ["kalo", "unheard-of", "miru"]
    framed = tokenizer.frame_words([row], max_length=64)

    words = framed.words[0]
    assert (words[0], words[-1]) == (-1, -1)
    assert sorted(set(words[1:-1])) == [0, 1, 2]
    assert words[1:-1] == sorted(words[1:-1])


def test_rows_of_words_are_tokenized_as_their_text_is() -> None:
    tokenizer = train_tokenizer("bpe", texts_of(50), 400)
    row = texts_of(3)[2].rstrip(".").split()

    assert tokenizer.frame_words([row], max_length=99).ids == tokenizer.frame_batch([" ".join(row)], max_length=99).ids


def test_rare_words_have_no_token() -> None:
    tokenizer = train_tokenizer("word", ["often often once"], 400, min_frequency=2)

    assert tokenizer.encode("often once") == [5, tokenizer.unk_id]


def test_only_the_commonest_characters_are_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.data.text.vocabularies.MOST_CHARACTERS", 2)
    tokenizer = train_tokenizer("wordpiece", ["aaa bbb abab c"], 400)

    assert tokenizer.encode("c") == [tokenizer.unk_id]
    assert tokenizer.unk_id not in tokenizer.encode("ab ba")


def test_a_file_that_is_no_tokenizer_is_invalid_data(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(InvalidData, match="is no tokenizer"):
        Tokenizer.load(tmp_path / FILE)
    with pytest.raises(InvalidData, match="cannot be read"):
        Tokenizer.load(tmp_path / "absent.json")

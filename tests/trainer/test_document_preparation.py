"""Plain text and CoNLL columns prepared: lines, sentences and documents, readable by the recipes afterwards."""

import re
from pathlib import Path

from core.recipes.token_classification import Data as TaggedData
from tests.trainer.preparing import Steps, files_of, is_reproducible, prepared, profiled, refusal
from trainer.data.findings import Findings
from trainer.data.tagged import read_tagged_words

SPEECHES = "".join(f"Speaker {number % 7}:\nHear line {number}, größer als {number - 1}.\n\n" for number in range(60))


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def texts_of(folder: Path) -> dict[str, str]:
    return {name: content.decode() for name, content in files_of(folder / "data").items()}


def test_documents_of_one_text_stand_between_blank_lines_and_stay_whole(tmp_path: Path) -> None:
    put(tmp_path / "in" / "input.txt", SPEECHES + "Speaker 0:\nHear line 0, größer als -1.\n\n")
    steps: Steps = [{"do": "drop_duplicates", "unit": "document"}, {"do": "split", "unit": "document", "test": 0.2, "validation": 0.1}]
    done = prepared(tmp_path / "in", tmp_path / "out", steps)
    assert (done.format, done.rows_in, done.rows_out) == ("text", 183, 180)
    texts = texts_of(tmp_path / "out")
    assert sorted(texts) == ["test.txt", "train.txt", "validation.txt"]
    whole = [re.findall(r"Speaker \d:\nHear line (\d+), größer als -?\d+\.\n\n", text) for text in texts.values()]
    assert [len(found) for found in whole] == [12, 42, 6]
    assert sorted(int(number) for found in whole for number in found) == list(range(60))
    found = profiled(tmp_path / "out" / "data")
    assert (found.valid, found.format, found.splits) == (True, "text", {"train": 84, "validation": 12, "test": 24})


def test_lines_are_cleaned_sampled_and_the_last_are_tested_on(tmp_path: Path) -> None:
    text = "".join(f"line {number}\r\n" for number in range(40)) + "  \r\nline 3\r\nx\r\n"
    put(tmp_path / "in" / "a.txt", text, "utf-16")
    steps: Steps = [
        {"do": "fix_encoding"},
        {"do": "drop_missing"},
        {"do": "drop_duplicates"},
        {"do": "drop_by_length", "unit": "words", "min": 2},
        {"do": "split", "by": "time", "test": 0.1, "validation": 0.1},
        {"do": "sample", "fraction": 0.5},
    ]
    done = prepared(tmp_path / "in", tmp_path / "out", steps)
    assert [step.rows_out for step in done.steps] == [43, 42, 41, 40, 40, 20]
    texts = texts_of(tmp_path / "out")
    numbers = {name: [int(line.split()[1]) for line in text.splitlines()] for name, text in texts.items()}
    assert {name: len(found) for name, found in numbers.items()} == {"test.txt": 2, "train.txt": 16, "validation.txt": 2}
    assert max(numbers["train.txt"]) < 32 <= min(numbers["validation.txt"]) < 36 <= min(numbers["test.txt"])
    assert numbers["train.txt"] == sorted(numbers["train.txt"])
    assert all("\r" not in text for text in texts.values())


def test_where_there_are_several_files_each_is_a_document_and_stays_one(tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path / "in" / "train" / f"{number}.txt", f"chapter {number}\n\nits end\n")
    put(tmp_path / "in" / "test" / "0.txt", "chapter 3\nits end\n")
    put(tmp_path / "in" / "README.md", "kept")
    steps: Steps = [{"do": "drop_duplicates", "unit": "document"}, {"do": "split", "unit": "document", "test": 0.2, "validation": 0}]
    prepared(tmp_path / "in", tmp_path / "out", steps)
    texts = texts_of(tmp_path / "out")
    assert texts.pop("README.md") == "kept"
    assert [sum(name.startswith(split) for name in texts) for split in ("train/", "test/")] == [8, 2]
    assert sorted(text.split("\n")[0] for text in texts.values()) == [f"chapter {number}" for number in range(10)]
    assert "chapter 3\nits end\n" in texts.values(), "of equal documents that of the test split stays"
    assert profiled(tmp_path / "out" / "data").valid


def test_a_line_that_is_not_utf_8_is_named_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes(b"one\ntwo \xe9\nthree\n")
    steps: Steps = [{"do": "drop_missing"}]
    assert refusal(tmp_path / "in", tmp_path / "no", steps)[0].startswith("a.txt, row 2: byte 8 (0xe9) is not UTF-8")
    done = prepared(tmp_path / "in", tmp_path / "out", steps, on_bad_rows="drop")
    assert (done.num_rows_left_out, texts_of(tmp_path / "out")) == (1, {"data.txt": "one\nthree\n"})


def test_steps_that_mean_nothing_to_a_text_are_refused_with_their_place(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.txt", SPEECHES)
    steps: Steps = [{"do": "drop_missing"}, {"do": "impute", "columns": ["a"]}, {"do": "augment", "text": {"column": "text", "swap": 0.1}}]
    problems = refusal(tmp_path / "in", tmp_path / "out", steps)
    assert [problem.partition(":")[0] for problem in problems] == ["/data/steps/1 (impute)", "/data/steps/2 (augment)"]


def sentence(number: int) -> str:
    """Every third has a person, every sixth also a place; with a column between."""
    tags = ("B-person", "I-person") if number % 3 == 0 else ("O", "O")
    place = "B-place" if number % 6 == 0 else "O"
    return f"Ada NNP {tags[0]}\nNo{number} NNP {tags[1]}\nin IN O\nÜlm NNP {place}\n\n"


COLUMNS = "".join(f"{'-DOCSTART- -X- O' + chr(10) + chr(10) if number % 4 == 0 else ''}{sentence(number)}" for number in range(48))


def test_sentences_in_columns_are_renamed_balanced_and_split_by_documents(tmp_path: Path) -> None:
    put(tmp_path / "in" / "all.conll", COLUMNS + sentence(47))
    steps: Steps = [
        {"do": "drop_duplicates"},
        {"do": "map_tags", "rename": {"person": "human"}, "drop": ["place"]},
        {"do": "split", "unit": "document", "test": 0.25, "validation": 0.25},
        {"do": "balance"},
    ]
    done = prepared(tmp_path / "in", tmp_path / "out", steps)
    assert [(step.do, step.rows_out, step.num_changed) for step in done.steps[:2]] == [("drop_duplicates", 48, 1), ("map_tags", 48, 40)]
    texts = texts_of(tmp_path / "out")
    assert [text.count("-DOCSTART-") for _, text in sorted(texts.items())] == [3, 6, 3]
    assert "Ada\tNNP\tB-human\n" in texts["train.conll"]
    words = read_tagged_words(tmp_path / "out" / "data", TaggedData(), seed=0, findings=Findings())
    assert words.names == ["O", "B-human", "I-human"]
    training = [bool(words.tags[row].any()) for row in words.splits.train.tolist()]
    assert training.count(True) == training.count(False)
    assert words.splits.sizes() == done.splits
    assert profiled(tmp_path / "out" / "data").valid


def test_a_type_that_no_word_has_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    put(tmp_path / "in" / "all.conll", COLUMNS)
    steps: Steps = [{"do": "map_tags", "rename": {"person": "human"}}, {"do": "map_tags", "drop": ["person"]}]
    assert refusal(tmp_path / "in", tmp_path / "out", steps) == [
        "/data/steps/1 (map_tags): no word is tagged 'person'; the types are 'human', 'place'"
    ]


def test_texts_and_columns_are_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    put(tmp_path / "text" / "a.txt", SPEECHES)
    put(tmp_path / "columns" / "a.conll", COLUMNS)
    drawn: Steps = [{"do": "split", "unit": "document"}, {"do": "sample", "fraction": 0.7}]
    assert is_reproducible(tmp_path / "text", tmp_path / "a", [{"do": "drop_duplicates"}, *drawn])
    assert is_reproducible(tmp_path / "columns", tmp_path / "b", [{"do": "map_tags", "drop": ["place"]}, *drawn, {"do": "balance"}])

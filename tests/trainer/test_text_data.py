"""Texts on their way to a model: columns, rows that cannot be used, padding, augmentation, masking and packing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.recipes.text_classification import Data
from trainer.data.findings import Findings
from trainer.data.text.augment import Augmentation, Place
from trainer.data.text.columns import LabelledTexts, in_order, read_labelled_texts, read_plain_texts
from trainer.data.text.masking import Masking, ordinary_ids
from trainer.data.text.packing import _blocks
from trainer.data.text.token_ids import TokenIds, pad, write_ids
from trainer.data.text.vocabularies import train_tokenizer
from trainer.errors import InvalidData
from trainer.tasks.task import IGNORED

SPECIAL = (0, 1, 2, 3, 4)
HERE = Place(seed=1, epoch=2, step=3)


def rows_of(num: int, length: int, vocab_size: int = 500) -> tuple[dict[str, torch.Tensor], np.ndarray[Any, np.dtype[np.int64]]]:
    """``[CLS] tokens [SEP]`` with tokens that are all different in a row, of lengths that fall."""
    draw = np.random.default_rng(0)
    ids = [[2, *draw.choice(np.arange(5, vocab_size), max(length - row % 5, 3) - 2, replace=False).tolist(), 3] for row in range(num)]
    return pad(ids, pad_id=0, longest=length), np.arange(num)


def augmentation(**shares: float) -> Augmentation:
    return Augmentation(**{"dropout": 0.0, "swap": 0.0, "spans": 0.0, **shares}, special_ids=SPECIAL, pad_id=0, mask_id=4)


def table(folder: Path, rows: list[dict[str, Any]], name: str = "data.jsonl") -> Path:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def read(folder: Path, **knobs: Any) -> LabelledTexts:
    return read_labelled_texts(folder, Data.model_validate_json(json.dumps(knobs)), seed=0, findings=Findings())


@pytest.mark.parametrize("names", [("text", "label"), ("Sentence", "Class"), ("content", "target"), ("review", "sentiment")])
def test_usual_columns_are_found(names: tuple[str, str], tmp_path: Path) -> None:
    data = read(table(tmp_path, [{"id": row, names[0]: f"text {row}", names[1]: row % 2} for row in range(20)]))

    assert data.texts[:2] == ["text 0", "text 1"]
    assert data.classes == ["0", "1"]
    assert data.labels.tolist() == [0, 1] * 10
    assert data.pairs is None


def test_usual_pairs_are_found(tmp_path: Path) -> None:
    data = read(
        table(tmp_path, [{"premise": f"a {row}", "hypothesis": f"b {row}", "label": "yes" if row % 2 else "no"} for row in range(20)])
    )

    assert (data.texts[3], data.pairs and data.pairs[3]) == ("a 3", "b 3")
    assert data.classes == ["no", "yes"]


def test_columns_that_are_named_go_before_usual_ones(tmp_path: Path) -> None:
    rows = [{"text": "not this", "title": f"title {row}", "label": "x", "kind": str(row % 3)} for row in range(30)]
    data = read(table(tmp_path, rows), text_column="title", label_column="kind")

    assert data.texts[5] == "title 5"
    assert data.classes == ["0", "1", "2"]


def test_every_row_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    good = [{"text": f"text {row}", "label": row % 2} for row in range(20)]
    bad: list[dict[str, Any]] = [
        {"text": "", "label": 1},
        {"text": "  ", "label": 1},
        {"text": 7, "label": 1},
        {"text": "x", "label": None},
    ]
    with pytest.raises(InvalidData) as found:
        read(table(tmp_path, [*good, *bad, {"text": "x", "label": 0.5}, {"text": "\ud800", "label": 1}]))

    said = "\n".join(found.value.problems)
    for row, problem in zip(range(21, 27), ("empty", "blank", "int, not a text", "empty", "a measure", "surrogate"), strict=True):
        assert f"data.jsonl, row {row}, column" in said
        assert problem in said


def test_rows_that_cannot_be_used_are_dropped_where_the_spec_says_so(tmp_path: Path) -> None:
    rows = [{"text": f"text {row}", "label": row % 2} for row in range(20)] + [{"text": None, "label": 1}]

    assert len(read(table(tmp_path, rows), on_bad_rows="drop").texts) == 20


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"body of text": "x", "label": 1}], "set data.text_column to one of 'body of text', 'label'"),
        ([{"text": "x", "mood": 1}], "set data.label_column to one of"),
        ([{"text": f"x {row}", "label": "only"} for row in range(9)], "there is one class: 'only'"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_refused(rows: list[dict[str, Any]], problem: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=problem):
        read(table(tmp_path, rows))


def test_numbers_are_classes_in_their_order() -> None:
    assert in_order({"10", "9", "-1"}) == ["-1", "9", "10"]
    assert in_order({"b", "10", "9"}) == ["10", "9", "b"]


def test_lines_of_text_files_know_their_split_and_blank_ones_are_none(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("one\n\n  two \n")
    (tmp_path / "test.txt").write_bytes(b"three\n\xff\xfe broken\n")
    findings = Findings()
    found = read_plain_texts(tmp_path, None, Data(), findings)

    assert sorted(zip(found.columns["text"], found.parts, strict=True)) == [("one", "train"), ("three", "test"), ("two", "train")]
    with pytest.raises(InvalidData, match=r"test.txt, row 2: byte 6 \(0xff\) is not UTF-8"):
        findings.settle("fail")


def test_batches_are_padded_to_their_longest_row(tmp_path: Path) -> None:
    write_ids(tmp_path, [[7, 8, 9], [5], [6] * 11], types=[[0, 1, 1], [0], [1] * 11])
    ids = TokenIds(tmp_path)

    batch = ids.batch(np.array([1, 0]), pad_id=99, longest=64)
    assert batch["ids"].tolist() == [[5] + [99] * 7, [7, 8, 9] + [99] * 5]
    assert batch["mask"].sum(1).tolist() == [1, 3]
    assert batch["types"][1].tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    assert ids.batch(np.array([2, 0]), pad_id=0, longest=12)["ids"].shape == (2, 12), "rounded up, but not beyond what the model can take"
    assert ids.lengths().tolist() == [3, 1, 11]


@pytest.mark.parametrize("shares", [{"dropout": 0.3}, {"swap": 0.5}, {"spans": 0.4}, {"dropout": 0.2, "swap": 0.2, "spans": 0.2}])
def test_augmentation_depends_on_the_row_and_not_on_its_neighbours(shares: dict[str, float]) -> None:
    batch, rows = rows_of(12, 24)
    change = augmentation(**shares)
    alone = change({name: tensor[3:4] for name, tensor in batch.items()}, rows[3:4], HERE)
    together = change(batch, rows, HERE)
    length = int(alone["mask"].sum())

    assert torch.equal(alone["ids"][0, :length], together["ids"][3, :length])
    assert int(together["mask"][3].sum()) == length
    assert not torch.equal(change(batch, rows, Place(1, 3, 3))["ids"], together["ids"]), "another epoch, another draw"


def test_tokens_are_left_out_in_their_share_and_never_all_of_them() -> None:
    batch, rows = rows_of(400, 30)
    kept = augmentation(dropout=0.25)(batch, rows, HERE)
    before, after = batch["mask"].sum() - 2 * 400, kept["mask"].sum() - 2 * 400

    assert float(after / before) == pytest.approx(0.75, abs=0.02)
    for row in range(400):
        old, new = batch["ids"][row][batch["mask"][row]].tolist(), kept["ids"][row][kept["mask"][row]].tolist()
        assert (new[0], new[-1]) == (2, 3)
        assert [token for token in old if token in new] == new, "the order stays"
    assert kept["ids"][~kept["mask"]].unique().tolist() == [0]
    nothing = augmentation(dropout=0.999)(batch, rows, HERE)
    assert nothing["mask"].sum(1).min() == 3


def test_exchanged_tokens_are_the_same_tokens_elsewhere() -> None:
    batch, rows = rows_of(400, 30)
    changed = augmentation(swap=0.2)(batch, rows, HERE)["ids"]

    assert torch.equal(changed.sort(1).values, batch["ids"].sort(1).values)
    assert torch.equal(changed[:, 0], batch["ids"][:, 0])
    moved = float((changed != batch["ids"])[batch["mask"]].float().mean())
    assert 0.1 < moved < 0.2, "of the fifth that was chosen some come back to their own place"


def test_spans_cover_their_share() -> None:
    batch, rows = rows_of(2000, 60)
    changed = augmentation(spans=0.15)(batch, rows, HERE)["ids"]
    masked = changed == 4

    assert float(masked.sum() / (batch["mask"].sum() - 2 * 2000)) == pytest.approx(0.15, abs=0.03)
    starts = masked & ~torch.nn.functional.pad(masked, (1, 0))[:, :-1]
    assert float(masked.sum() / starts.sum()) > 2, "spans, not single tokens"
    assert torch.equal(changed[~masked], batch["ids"][~masked])


def masking() -> Masking:
    return Masking(share=0.15, as_mask=0.8, as_random=0.1, mask_id=4, special_ids=SPECIAL, ordinary=ordinary_ids(500, SPECIAL))


def test_masks_have_the_shares_of_the_paper() -> None:
    batch, rows = rows_of(1000, 62)
    masked = masking()(batch, rows, HERE)
    told = masked["labels"] != IGNORED

    assert torch.equal(told.sum(1), ((batch["mask"].sum(1) - 2) * 0.15).round().long())
    assert torch.equal(masked["labels"][told], batch["ids"][told])
    assert torch.equal(masked["ids"][~told], batch["ids"][~told])
    assert not torch.isin(masked["labels"][told], torch.tensor(SPECIAL)).any()
    shown, true = masked["ids"][told], batch["ids"][told]
    assert float((shown == 4).float().mean()) == pytest.approx(0.8, abs=0.02)
    assert float((shown == true).float().mean()) == pytest.approx(0.1, abs=0.02)
    others = shown[(shown != 4) & (shown != true)]
    assert not torch.isin(others, torch.tensor(SPECIAL)).any()
    assert len(others.unique()) > 350, "any token"
    assert torch.equal(masked["where"], torch.nonzero(told.flatten()).flatten())


def test_a_row_of_two_tokens_has_one_to_tell() -> None:
    batch = pad([[2, 9, 10, 3]], pad_id=0, longest=8)

    assert len(masking()(batch, np.array([0]), HERE)["where"]) == 1


def test_blocks_lose_no_token_and_are_all_of_one_length_but_the_last() -> None:
    texts = ["a b c d e", "f g", "h i j k l m n o p"]
    tokenizer = train_tokenizer("word", texts, 300)
    rows = list(_blocks(tokenizer, texts, 8, {}))

    assert [len(row) for row in rows] == [8, 8, 8, 2]
    assert all((row[0], row[-1]) == (tokenizer.cls_id, tokenizer.sep_id) for row in rows)
    found = [token for row in rows for token in row if token not in tokenizer.special_ids]
    assert found == [token for ids in tokenizer.encode_batch(texts) for token in ids]

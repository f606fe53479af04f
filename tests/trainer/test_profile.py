"""What a profile says of datasets in every format, sound and broken."""

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.profile import Profile
from core.recipes.dataset_validation import ColumnHints, Data
from tests.trainer.made_up_files import picture, pictures, recordings, reviews, write_csv, write_json_lines, write_parquet
from trainer.data.digits import convert
from trainer.profile.profiling import profile_dataset
from trainer.tools.telling import StopAsked

ROWS = [["length", "colour", "species"], *([str(number / 7), ("red", "blue")[number % 2], ("a", "b")[number % 2]] for number in range(40))]


def profile(root: Path, **data: Any) -> Profile:
    columns = ColumnHints(**data.pop("columns", {}))
    return profile_dataset(root, Data(columns=columns, **data), lambda done, total: None)


def places(found: Profile) -> list[tuple[str | None, int | None, str | None]]:
    return [(finding.file, finding.row, finding.column) for finding in found.findings]


def codes(found: Profile) -> set[str]:
    return {caution.code for caution in found.warnings}


def idx(path: Path, array: np.ndarray) -> None:  # type: ignore[type-arg]
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def put_idx(root: Path) -> None:
    idx(root / "train-images-idx3-ubyte.gz", np.arange(20 * 64).reshape(20, 8, 8) % 251)
    idx(root / "train-labels-idx1-ubyte.gz", np.arange(20) % 2)


def put_zip(root: Path) -> None:
    with zipfile.ZipFile(root / "pictures.zip", "w") as archive:
        for number in range(12):
            archive.writestr(f"{('red', 'blue')[number % 2]}/{number}.png", picture(number, (9, 9, 200)))


def put_conll(root: Path) -> None:
    (root / "train.conll").write_text("".join(f"Anna{number} B-PER\nruns O\n\n" for number in range(8)))


CHAT = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
FORMS: dict[str, tuple[Callable[[Path], object], str, str | None, int]] = {
    "csv": (lambda root: write_csv(root / "data.csv", ROWS), "csv", "tabular", 40),
    "tsv": (lambda root: write_csv(root / "data.tsv", ROWS, delimiter="\t"), "tsv", "tabular", 40),
    "jsonl": (lambda root: write_json_lines(root / "a.jsonl", reviews(30)), "jsonl", "text-classification", 30),
    "json": (lambda root: (root / "a.json").write_text(json.dumps(reviews(30))), "json", "text-classification", 30),
    "parquet": (
        lambda root: write_parquet(root / "a.parquet", {"user_id": [1, 2, 3, 4] * 5, "item_id": list(range(20)), "rating": [3.5] * 20}),
        "parquet",
        "recommendation",
        20,
    ),
    "pictures in parquet": (
        lambda root: write_parquet(
            root / "a.parquet", {"image": [{"bytes": picture(n, (1, 2, 3)), "path": None} for n in range(12)], "label": [0, 1, 2] * 4}
        ),
        "parquet",
        "image-classification",
        12,
    ),
    "chats": (lambda root: write_json_lines(root / "a.jsonl", [{"messages": CHAT}] * 12), "jsonl", "causal-language-modeling", 12),
    "text": (lambda root: (root / "input.txt").write_text("a line of text\nand another\n" * 9), "text", "causal-language-modeling", 18),
    "conll": (put_conll, "conll", "token-classification", 8),
    "tags": (
        lambda root: write_json_lines(root / "a.jsonl", [{"tokens": [str(n), "x"], "ner_tags": ["B-a", "O"]} for n in range(9)]),
        "jsonl",
        "token-classification",
        9,
    ),
    "image-folder": (pictures, "image-folder", "image-classification", 24),
    "image-archive": (put_zip, "image-archive", "image-classification", 12),
    "idx": (put_idx, "idx", "image-classification", 20),
    "recordings": (recordings, "csv", "speech-recognition", 6),
    "files": (lambda root: (root / "model.bin").write_bytes(b"\0\1"), "files", None, 0),
}


@pytest.mark.parametrize("name", FORMS)
def test_format_and_recipe_are_found_out(tmp_path: Path, name: str) -> None:
    put, kind, task, num_rows = FORMS[name]
    put(tmp_path)
    found = profile(tmp_path)
    assert found.findings == []
    assert (found.format, found.task, found.num_rows, found.valid) == (kind, task, num_rows, True)
    assert Profile.model_validate_json(found.model_dump_json()) == found


def test_arrays_are_images(tmp_path: Path) -> None:
    convert(tmp_path / "digits")
    found = profile(tmp_path / "digits")
    assert (found.format, found.task, found.num_rows, found.valid) == ("image-arrays", "image-classification", 1797, True)
    assert found.labels is not None
    assert found.labels.counts["all"]["0"] == 178
    assert found.images is not None
    assert [size.value for size in found.images.sizes] == ["8 x 8"]


def put_bad_picture(root: Path) -> None:
    pictures(root)
    (root / "red" / "3.png").write_bytes(picture(3, (1, 2, 3))[:60])
    (root / "blue" / "notes.doc").write_text("no image")


def put_bad_recording(root: Path) -> None:
    recordings(root)
    (root / "2.wav").write_bytes(b"RIFF nothing")


BROKEN: dict[str, tuple[Callable[[Path], object], list[tuple[str | None, int | None, str | None]]]] = {
    "csv with a short row": (lambda root: write_csv(root / "a.csv", [*ROWS[:5], ["1"], *ROWS[5:]]), [("a.csv", 6, None)]),
    "csv in cp1252": (lambda root: write_csv(root / "a.csv", [*ROWS, ["1", "grün", "b"]], encoding="cp1252"), [("a.csv", 42, None)]),
    "csv that never closes a quotation": (lambda root: (root / "a.csv").write_text('a,label\n1,x\n"2,y\n'), [("a.csv", 3, None)]),
    "csv with one name twice": (lambda root: (root / "a.csv").write_text("a,a\n1,2\n"), [("a.csv", 1, None)]),
    "csv without anything": (lambda root: (root / "a.csv").write_text(""), [("a.csv", None, None)]),
    "utf-16": (lambda root: write_csv(root / "a.csv", ROWS, encoding="utf-16"), [("a.csv", None, None)]),
    "json lines with a line that is none": (
        lambda root: (root / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reviews(12)) + "{'text': 1}\n"),
        [("a.jsonl", 13, None)],
    ),
    "json that ends early": (lambda root: (root / "a.json").write_text('[{"text": "a"'), [("a.json", None, None)]),
    "parquet that is none": (lambda root: (root / "a.parquet").write_bytes(b"PAR1 no"), [("a.parquet", None, None)]),
    "an empty text": (
        lambda root: write_json_lines(root / "a.jsonl", [*reviews(12), {"text": "", "label": "good"}]),
        [("a.jsonl", 13, "text")],
    ),
    "a tag too many": (
        lambda root: write_json_lines(root / "a.jsonl", [{"tokens": ["a"], "tags": ["O"]}] * 9 + [{"tokens": ["a"], "tags": ["O", "O"]}]),
        [("a.jsonl", 10, None)],
    ),
    "pictures": (put_bad_picture, [("blue/notes.doc", None, None), ("red/3.png", None, None)]),
    "recordings": (put_bad_recording, [("metadata.csv", 4, None)]),
    "a broken archive": (lambda root: (root / "a.zip").write_bytes(b"PK no"), [(None, None, None)]),
    "text in latin-1": (lambda root: (root / "a.txt").write_bytes("schön\n".encode("latin-1") * 9), [("a.txt", None, None)]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_named_by_its_place(tmp_path: Path, name: str) -> None:
    put, expected = BROKEN[name]
    put(tmp_path)
    found = profile(tmp_path)
    assert places(found) == expected
    assert found.num_findings == len(expected)
    assert not found.valid


def test_a_dataset_without_files_is_invalid(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("x")
    found = profile(tmp_path)
    assert not found.valid
    assert [finding.message for finding in found.findings] == ["the dataset holds no file"]


def test_what_only_a_guessed_recipe_would_refuse_is_a_warning(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [["name", "size"], ["x", "1"], ["y", ""], ["z", "3"]])
    found = profile(tmp_path)
    assert (found.task, found.valid) == ("tabular", True)
    assert any("a.csv, row 3, column size: the target is missing" in caution.message for caution in found.warnings)
    told = profile(tmp_path, task="tabular", columns={"target": "size"})
    assert not told.valid
    assert ("a.csv", 3, "size") in places(told)


def test_a_recipe_that_was_named_refuses_the_whole_and_one_that_was_found_out_only_warns(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "a.jsonl", [{**row, "label": "good"} for row in reviews(12)])
    found = profile(tmp_path)
    assert (found.task, found.valid) == ("text-classification", True)
    assert any(caution.code == "unsuitable" and "there is one class" in caution.message for caution in found.warnings)
    told = profile(tmp_path, task="text-classification")
    assert not told.valid
    assert any("there is one class" in finding.message for finding in told.findings)
    with_column = profile(tmp_path, task="text-classification", columns={"text": "body"})
    assert any("there is no column 'body'" in finding.message for finding in with_column.findings)


def test_as_many_findings_are_spelled_out_as_asked_for_and_all_are_counted(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "a.jsonl", [*reviews(30), *([{"text": " ", "label": "bad"}] * 50)])
    found = profile(tmp_path, max_findings=7)
    assert (len(found.findings), found.num_findings) == (7, 50)
    assert [finding.row for finding in found.findings] == list(range(31, 38))
    assert profile(tmp_path, max_findings=0).num_findings == 50


def test_leaks_drift_and_strangers_between_splits(tmp_path: Path) -> None:
    train = reviews(60)
    write_json_lines(tmp_path / "train.jsonl", [*train, train[1], {**train[2], "label": "good"}])
    test = [{"text": row["text"].upper() + "!", "label": "good"} for row in train[:5]] + [train[7], {"text": "new words", "label": "odd"}]
    write_json_lines(tmp_path / "test.jsonl", test)
    found = profile(tmp_path)
    assert found.splits == {"train": 62, "test": 7}
    assert [(leak.split, leak.other, leak.num_exact, leak.num_loose) for leak in found.leaks] == [("train", "test", 1, 7)]
    assert found.num_duplicates == 2
    assert found.labels is not None
    assert found.labels.counts == {"train": {"bad": 41, "good": 21}, "test": {"bad": 1, "good": 5, "odd": 1}}
    assert found.drifts[0].distance == pytest.approx((abs(41 / 62 - 1 / 7) + abs(21 / 62 - 5 / 7) + 1 / 7) / 2)
    assert {"leak", "duplicates", "conflicting_labels", "unknown_label"} <= codes(found)


def test_a_column_says_the_splits_as_it_does_for_training(tmp_path: Path) -> None:
    rows = [[*row, ("train", "test")[number % 4 == 0]] for number, row in enumerate(ROWS[1:])]
    write_csv(tmp_path / "a.csv", [[*ROWS[0], "fold"], *rows])
    assert profile(tmp_path).splits == {"all": 40}
    assert profile(tmp_path, columns={"split": "fold"}).splits == {"train": 30, "test": 10}


def test_classes_that_are_rare_are_warned_of(tmp_path: Path) -> None:
    rows = [[str(number), "common" if number > 2 else "rare"] for number in range(60)]
    write_csv(tmp_path / "a.csv", [["size", "label"], *rows])
    assert {"class_imbalance", "tiny_class"} <= codes(profile(tmp_path))


def test_images_by_size_mode_and_split(tmp_path: Path) -> None:
    pictures(tmp_path, 11, part="train")
    pictures(tmp_path, 4, part="test", start=50)
    (tmp_path / "test" / "red" / "large.png").write_bytes(picture(0, (1, 2, 3), (30, 20)))
    (tmp_path / "test" / "red" / "again.png").write_bytes((tmp_path / "train" / "red" / "1.png").read_bytes())
    found = profile(tmp_path)
    assert found.splits == {"train": 22, "test": 10}
    assert found.images is not None
    assert [(size.value, size.num) for size in found.images.sizes] == [("8 x 6", 31), ("30 x 20", 1)]
    assert [(mode.value, mode.num) for mode in found.images.modes] == [("RGB", 32)]
    assert [(leak.split, leak.other, leak.num_exact) for leak in found.leaks] == [("train", "test", 1)]
    assert codes(found) == {"differing_sizes", "leak"}


def test_recordings_by_length_and_rate(tmp_path: Path) -> None:
    found = profile(recordings(tmp_path))
    assert found.audio is not None
    assert found.audio.total_seconds == pytest.approx(6 * 0.25)
    assert [(rate.value, rate.num) for rate in found.audio.rates] == [("8000", 6)]
    assert found.columns[0].lengths is not None
    assert found.columns[0].lengths.words.mean == 2


def test_halves_of_characters_do_not_stop_a_profile(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "a.jsonl", [*reviews(12), {"text": "half \ud800", "label": "good", "more\udfff": "\udead"}])
    found = profile(tmp_path)
    assert ("a.jsonl", 13, "text") in places(found)
    assert "more?" in [column.name for column in Profile.model_validate_json(found.model_dump_json()).columns]


def test_a_profile_that_is_asked_to_stop_stops(tmp_path: Path) -> None:
    pictures(tmp_path)

    def stop_at_five(done: int, total: int) -> None:
        if done == 5:
            raise StopAsked

    with pytest.raises(StopAsked):
        profile_dataset(tmp_path, Data(), stop_at_five)

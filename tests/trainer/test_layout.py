"""Which files of a folder belong to which split."""

from pathlib import Path

import pytest

from trainer.data.layout import find_parts, part_of


def found(root: Path, names: list[str], suffixes: tuple[str, ...] = (".csv", ".jpg")) -> dict[str, list[str]]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return {part: [path.relative_to(root).as_posix() for path in paths] for part, paths in find_parts(root, suffixes).items()}


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["train.csv", "dev.csv", "test.csv"], {"train": ["train.csv"], "validation": ["dev.csv"], "test": ["test.csv"]}),
        (["train-2.csv", "train-1.csv", "other.csv", "README.md"], {"train": ["train-1.csv", "train-2.csv"]}),
        (["rows.csv", "test.csv"], {"test": ["test.csv"], "all": ["rows.csv"]}),
        (["a.csv", "b.CSV", ".hidden.csv"], {"all": ["a.csv", "b.CSV"]}),
        (["train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg"], {
            "train": ["train/cat/1.jpg", "train/dog/2.jpg"], "validation": ["val/cat/3.jpg"],
        }),
        (["cat/1.jpg", "dog/2.jpg", "dog/.thumb/2.jpg"], {"all": ["cat/1.jpg", "dog/2.jpg"]}),
        (["data/train-00000-of-00001.csv", "data/test-00000-of-00001.csv"], {
            "train": ["data/train-00000-of-00001.csv"], "test": ["data/test-00000-of-00001.csv"],
        }),
        (["train.csv", "original/dev.csv"], {"train": ["train.csv"]}),
        (["notes.txt"], {}),
    ],
)  # fmt: skip
def test_names_tell_the_split(tmp_path: Path, names: list[str], parts: dict[str, list[str]]) -> None:
    assert found(tmp_path, names) == parts


def test_one_file_is_all(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()

    assert find_parts(tmp_path / "train.csv", (".csv",)) == {"all": [tmp_path / "train.csv"]}
    assert find_parts(tmp_path / "train.csv", (".jpg",)) == {}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Train", "train"), ("training_set.csv", "train"), ("valid", "validation"), ("validation", "validation"), ("val", "validation"),
        ("test_batch", "test"), ("trains.csv", None), ("testimony.csv", None), ("values.csv", None), ("device.csv", None),
    ],
)  # fmt: skip
def test_what_only_begins_like_a_split_is_none(name: str, part: str | None) -> None:
    assert part_of(name) == part

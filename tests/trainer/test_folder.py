"""A dataset folder is checked whole: every problem is named at once, and digits are converted soundly."""

import json
from pathlib import Path

import numpy as np
import pytest

from core.manifest import verify
from trainer.data.digits import convert, is_sound
from trainer.data.folder import load_image_folder
from trainer.errors import InvalidData

IMAGES = np.zeros((9, 8, 8), dtype=np.uint8)
LABELS = np.repeat(np.arange(3), 3)
CLASSES = ["a", "b", "c"]


def write(folder: Path, images: object = IMAGES, labels: object = LABELS, classes: object = CLASSES) -> Path:
    np.save(folder / "images.npy", images)  # type: ignore[arg-type]
    np.save(folder / "labels.npy", labels)  # type: ignore[arg-type]
    (folder / "classes.json").write_text(json.dumps(classes))
    return folder


def problems(folder: Path) -> list[str]:
    with pytest.raises(InvalidData) as caught:
        load_image_folder(folder)
    return list(caught.value.problems)


def test_a_good_folder_is_loaded(tmp_path: Path) -> None:
    data = load_image_folder(write(tmp_path, labels=LABELS.astype(np.int8)))

    assert (data.num_channels, data.labels.dtype, data.classes) == (1, np.int64, ("a", "b", "c"))
    assert isinstance(data.images, np.memmap)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": IMAGES.astype(np.float32)}, "images.npy must be uint8 with 3 or 4 axes, not float32 with shape (9, 8, 8)"),
        ({"images": IMAGES[:, :, :3]}, "images must be at least 4 x 4 pixels, not 8 x 3"),
        ({"images": np.zeros((9, 8, 8, 17), np.uint8)}, "images must have 1 to 16 channels in the last axis, not 17"),
        ({"images": IMAGES[:8]}, "there are 9 labels for 8 images"),
        ({"labels": LABELS + 1}, "labels run from 1 to 3, but there are 3 classes (0 to 2)"),
        ({"labels": LABELS - 1}, "labels run from -1 to 1, but there are 3 classes (0 to 2)"),
        ({"labels": LABELS / 2}, "labels.npy must be integers with one axis, not float64 with shape (9,)"),
        ({"classes": ["a", "b", "b"]}, "classes.json must hold 2 to 100000 different names"),
        ({"classes": {"a": 0}}, "classes.json must be a list of names"),
        ({"labels": np.array([], dtype=np.int64), "images": IMAGES[:0]}, "labels.npy is empty"),
    ],
)
def test_each_thing_that_is_wrong_is_named(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    assert problems(write(tmp_path, **changes)) == [says]


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (np.ones(8, np.int8), "parts.npy must be integers, one for each label, not int8 with shape (8,)"),
        (np.full(9, 4, np.int8), "parts.npy must hold 0 (none), 1 (train), 2 (validation) and 3 (test), not 4 to 4"),
    ],
)
def test_given_splits_are_checked(tmp_path: Path, parts: np.ndarray, says: str) -> None:
    np.save(write(tmp_path) / "parts.npy", parts)
    assert problems(tmp_path) == [says]


def test_given_splits_are_read(tmp_path: Path) -> None:
    np.save(write(tmp_path) / "parts.npy", np.array([0, 1, 2, 3, 0, 0, 0, 0, 0], np.int8))
    assert load_image_folder(tmp_path).parts == [None, "train", "validation", "test", *[None] * 5]


def test_equal_images_have_equal_keys(tmp_path: Path) -> None:
    images = IMAGES.copy()
    images[4] = 7
    keys = load_image_folder(write(tmp_path, images=images)).keys()
    assert len(set(keys)) == 2
    assert keys[0] == keys[8] != keys[4]


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    write(tmp_path, images=IMAGES.astype(np.int16), classes=[])
    (tmp_path / "labels.npy").write_bytes(b"no array")

    found = problems(tmp_path)
    assert len(found) == 3
    assert any("labels.npy cannot be read" in problem for problem in found)


def test_a_pickle_in_disguise_is_not_opened(tmp_path: Path) -> None:
    write(tmp_path)
    np.save(tmp_path / "labels.npy", np.array([print], dtype=object), allow_pickle=True)

    assert "cannot be read" in problems(tmp_path)[0]


def test_digits_are_1797_grey_images_of_ten_classes(digits_dir: Path) -> None:
    data = load_image_folder(digits_dir)

    assert data.images.shape == (1797, 8, 8)
    assert (data.images.min(), data.images.max()) == (0, 16)
    assert len(data.classes) == 10
    assert verify(digits_dir).meta["dataset"] == "digits"


def test_a_damaged_conversion_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    out = tmp_path / "cache" / "digits"
    convert(out)
    (out / "labels.npy").write_bytes(b"damaged")
    assert not is_sound(out)

    convert(out)

    assert is_sound(out)
    assert [path.name for path in out.parent.iterdir()] == ["digits"]
    assert sorted(path.name for path in out.iterdir()) == ["classes.json", "images.npy", "labels.npy", "manifest.json"]


def test_of_two_conversions_at_once_both_end_well(tmp_path: Path) -> None:
    out = tmp_path / "digits"
    convert(out)
    before = (out / "manifest.json").stat().st_ino

    convert(out)

    assert (out / "manifest.json").stat().st_ino == before, "a sound folder must not be replaced under its readers"

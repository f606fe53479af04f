"""Images as idx files and as arrays prepared, and written as they came."""

import gzip
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.recipes.image_classification import Data as ImageData
from tests.trainer.preparing import Steps, files_of, is_reproducible, prepared, profiled, refusal
from trainer.data.findings import Findings
from trainer.data.folder import load_image_folder
from trainer.data.images.idx import idx_pairs, read_idx
from trainer.data.images.importing import list_images

STEPS: Steps = [
    {"do": "drop_duplicates"},
    {"do": "split", "by": "stratified", "test": 0.2, "validation": 0.1},
    {"do": "balance"},
    {"do": "augment", "images": {"flip": True}},
]


def digits(num: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Different images of two classes, every third of them of class 1."""
    images = np.random.default_rng(3).integers(0, 256, (num, 6, 5), dtype=np.uint8)
    return images, (np.arange(num) % 3 == 1).astype(np.uint8)


def write_idx(path: Path, array: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


def idx(root: Path, num: int = 60) -> Path:
    images, labels = digits(num)
    write_idx(root / "train-images-idx3-ubyte.gz", np.concatenate([images, images[:3]]))
    write_idx(root / "train-labels-idx1-ubyte.gz", np.concatenate([labels, labels[:3]]))
    write_idx(root / "t10k-images-idx3-ubyte.gz", images[:1])
    write_idx(root / "t10k-labels-idx1-ubyte.gz", labels[:1])
    return root


def arrays(root: Path, num: int = 60) -> Path:
    root.mkdir()
    images, labels = digits(num)
    np.save(root / "images.npy", np.repeat(images[..., None], 3, axis=3))
    np.save(root / "labels.npy", labels)
    (root / "classes.json").write_text(json.dumps(["boot", "größe"]))
    return root


def test_idx_files_are_cleaned_split_balanced_and_read_again(tmp_path: Path) -> None:
    done = prepared(idx(tmp_path / "in"), tmp_path / "out", STEPS)
    assert (done.format, [step.rows_out for step in done.steps]) == ("idx", [60, 60, 46, 74])
    assert done.splits == {"train": 56, "validation": 6, "test": 12}
    folder = tmp_path / "out" / "data"
    assert sorted(files_of(folder)) == [
        f"{split}-{kind}-ubyte.gz" for split in ("test", "train", "validation") for kind in ("images-idx3", "labels-idx1")
    ]
    listing = list_images(folder, ImageData(), Findings())
    assert {split: listing.parts.count(split) for split in done.splits} == done.splits
    training = [label for label, part in zip(listing.labels, listing.parts, strict=True) if part == "train"]
    assert training.count(0) == training.count(1)
    images = read_idx(folder / "train-images-idx3-ubyte.gz", 3, Findings())
    assert images is not None
    assert (images[0] == images[28][:, ::-1]).all(), "the copy of the first is turned over"
    found = profiled(folder)
    assert (found.valid, found.task, found.splits, found.leaks) == (True, "image-classification", done.splits, [])


def test_arrays_stay_arrays_with_their_classes_and_get_splits(tmp_path: Path) -> None:
    done = prepared(arrays(tmp_path / "in"), tmp_path / "out", [*STEPS[:3], {"do": "sample", "fraction": 0.5}])
    folder = load_image_folder(tmp_path / "out" / "data")
    assert (folder.classes, folder.images.shape[1:]) == (("boot", "größe"), (6, 5, 3))
    assert folder.parts is not None
    assert {split: folder.parts.count(split) for split in done.splits} == done.splits
    before = load_image_folder(tmp_path / "in")
    known = {image.tobytes(): label for image, label in zip(before.images, before.labels.tolist(), strict=True)}
    assert [known[image.tobytes()] for image in folder.images] == folder.labels.tolist()
    assert profiled(tmp_path / "out" / "data").valid


def test_images_without_a_split_keep_none(tmp_path: Path) -> None:
    images, labels = digits(12)
    write_idx(tmp_path / "in" / "images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "in" / "labels-idx1-ubyte.gz", labels)
    done = prepared(tmp_path / "in", tmp_path / "out", [{"do": "sample", "rows": 6}])
    assert done.splits == {"all": 6}
    assert len(idx_pairs(tmp_path / "out" / "data")) == 1


def test_arrays_are_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    assert is_reproducible(idx(tmp_path / "idx"), tmp_path / "a", STEPS)
    assert is_reproducible(arrays(tmp_path / "arrays"), tmp_path / "b", STEPS)


def test_images_that_do_not_fit_into_one_file_are_named_and_nothing_stays(tmp_path: Path) -> None:
    root = idx(tmp_path / "in")
    images, labels = digits(3)
    write_idx(root / "t10k-images-idx3-ubyte.gz", images[:, :4])
    write_idx(root / "t10k-labels-idx1-ubyte.gz", labels)
    problems = refusal(root, tmp_path / "out", [{"do": "split", "test": 0.5, "validation": 0}])
    assert "train-images-idx3-ubyte.gz, row 1: it is 6 x 5, and the first is 4 x 5" in problems
    (root / "train-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b broken")
    assert "train-labels-idx1-ubyte.gz: it cannot be read" in refusal(root, tmp_path / "no", STEPS)[0]


def test_steps_for_tables_are_refused_for_arrays(tmp_path: Path) -> None:
    steps: Steps = [{"do": "normalise", "columns": ["a"]}, {"do": "sample", "rows": 2}, {"do": "split", "by": "time", "column": "label"}]
    problems = refusal(arrays(tmp_path / "in"), tmp_path / "out", steps)
    assert [problem.partition(":")[0] for problem in problems] == ["/data/steps/0 (normalise)", "/data/steps/2 (split)"]

"""Images in every form that a dataset may have, and what is said of those that cannot be used."""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from core.recipes.image_classification import Data
from trainer.data.findings import Findings
from trainer.data.folder import ImageFolder, load_image_folder
from trainer.data.images.by_class import placed
from trainer.data.images.decode import Unusable, decode, header_of
from trainer.data.images.importing import import_images
from trainer.errors import InvalidData

RED, BLUE = (255, 0, 0), (0, 0, 255)


def png(colour: Any = RED, size: tuple[int, int] = (6, 5), mode: str = "RGB", **more: Any) -> bytes:
    return encoded(Image.new(mode, size, colour), "PNG", **more)


def encoded(image: Image.Image, kind: str, **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def imported(root: Path, out: Path, **knobs: Any) -> ImageFolder:
    out.mkdir()
    import_images(root, Data(**knobs), out)
    return load_image_folder(out)


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def problems(root: Path, tmp_path: Path, **knobs: Any) -> list[str]:
    with pytest.raises(InvalidData) as caught:
        imported(root, tmp_path / "out", **knobs)
    return list(caught.value.problems)


TREE = {
    "train/red/1.png": png(),
    "train/blue/2.png": png(BLUE),
    "test/red/3.png": png(),
    "test/blue/4.JPG": encoded(Image.new("RGB", (6, 5), BLUE), "JPEG"),
}
FORMS: dict[str, Callable[[Path], Path]] = {
    "folders": lambda root: write(root / "d", TREE),
    "an archive in a folder": lambda root: zipped(root / "d" / "a.zip", TREE).parent,
    "an archive": lambda root: zipped(root / "a.zip", TREE),
}


@pytest.mark.parametrize("put", FORMS.values(), ids=FORMS)
def test_folders_named_after_classes_on_disk_and_in_archives(tmp_path: Path, put: Callable[[Path], Path]) -> None:
    data = imported(put(tmp_path), tmp_path / "out")

    assert data.classes == ("blue", "red")
    assert data.images.shape == (4, 5, 6, 3)
    assert data.parts == ["test", "test", "train", "train"]
    assert [data.classes[label] for label in data.labels] == ["blue", "red", "blue", "red"]
    assert data.images[3, 0, 0].tolist() == [255, 0, 0]
    assert np.abs(data.images[0].astype(int) - BLUE).max() <= 2
    files = data.files()
    assert files is not None
    assert files[3].endswith("train/red/1.png")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/1.png", "b/2.png"], {("a", None), ("b", None)}),
        (["set/x/a/1.png", "set/x/b/2.png"], {("a", None), ("b", None)}),
        (["set/train/a/1.png", "set/val/b/2.png"], {("a", "train"), ("b", "validation")}),
        (["train/1.png", "bus/2.png"], {("train", None), ("bus", None)}),  # a train is no split
        (["a/deep/1.png", "b/2.png"], {("a", None), ("b", None)}),
        ([r"a\1.png", r"b\2.png"], {("a", None), ("b", None)}),
        (["a/1.png", "b/2.png", "__MACOSX/a/._1.png", "a/.DS_Store", "a/Thumbs.db", "README.md"], {("a", None), ("b", None)}),
    ],
)
def test_the_class_of_an_image_is_a_folder(names: list[str], expected: set[tuple[str, str | None]]) -> None:
    findings = Findings()
    assert {(label, part) for _, part, label in placed(names, findings)} == expected
    findings.settle("fail")


def test_names_in_an_archive_are_never_used_as_paths(tmp_path: Path) -> None:
    zipped(tmp_path / "d" / "a.zip", {"../../evil/1.png": png(), "/etc/x/2.png": png(BLUE)})

    data = imported(tmp_path / "d", tmp_path / "out")

    assert len(data.labels) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "out"]


def test_parquet_with_bytes_labels_and_names(tmp_path: Path) -> None:
    for part, labels in (("train", [1, 0]), ("test", [0, 1])):
        images = [{"bytes": png(RED if label else BLUE), "path": "x"} for label in labels]
        names = ["red" if label else "blue" for label in labels]
        pq.write_table(pa.table({"image": images, "label": labels, "label_name": names}), tmp_path / f"{part}.parquet")

    data = imported(tmp_path, tmp_path / "out")

    assert data.classes == ("blue", "red")
    assert list(zip(data.parts or [], data.labels.tolist(), strict=True)) == [("train", 1), ("train", 0), ("test", 0), ("test", 1)]
    assert data.files() == ["train.parquet:1", "train.parquet:2", "test.parquet:1", "test.parquet:2"]


def test_a_csv_of_paths_with_columns_of_other_names_and_groups(tmp_path: Path) -> None:
    root = write(tmp_path / "d", {"pictures/1.png": png(), "pictures/2.png": png(BLUE)})
    (root / "list.csv").write_text("file,kind,split,patient\npictures/1.png,warm,train,p1\npictures/2.png,cold,test,p2\n")

    data = imported(root, tmp_path / "out", image_column="file", label_column="kind", group_column="patient")

    assert (data.classes, data.parts, data.groups()) == (("cold", "warm"), ["train", "test"], ["p1", "p2"])


def test_a_path_that_leads_out_of_the_dataset_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"secret.png": png(), "d/1.png": png()})
    (tmp_path / "d" / "list.csv").write_text("image,label\n../secret.png,a\n1.png,b\nnone.png,b\n")

    found = problems(tmp_path / "d", tmp_path)

    assert found[:2] == ["list.csv, row 2: '../secret.png' leads out of the dataset", "list.csv, row 4: there is no file 'none.png'"]


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_the_four_files_of_mnist(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 7, 6)).astype(np.uint8)
    for prefix, rows in (("train", slice(0, 3)), ("t10k", slice(3, 5))):
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[rows])))
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([10, 2, 2], np.uint8)[: len(images[rows])])))

    data = imported(tmp_path, tmp_path / "out")

    assert data.classes == ("2", "10")
    assert data.parts == ["test", "test", "train", "train", "train"]
    assert np.array_equal(data.images, np.concatenate([images[3:], images[:3]]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(idx(np.zeros((3, 7, 6), np.uint8)))[:-9], "cannot be read"),
        (gzip.compress(idx(np.zeros((3, 7, 6), np.uint8))[:-1]), "announces 3 x 7 x 6 bytes and does not hold as many"),
        (gzip.compress(b"\0\0\x0d\x03" + bytes(40)), "no idx file of unsigned bytes with 3 axes"),
        (b"not gzip", "cannot be read"),
        (gzip.compress(idx(np.zeros((2, 7, 6), np.uint8))), "2 images, but train-labels-idx1-ubyte.gz has 3 labels"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    write(tmp_path, {"train-images-idx3-ubyte.gz": content, "train-labels-idx1-ubyte.gz": gzip.compress(idx(np.zeros(3, np.uint8)))})

    (found,) = problems(tmp_path, tmp_path)

    assert says in found
    assert found.startswith("train-images-idx3-ubyte.gz: ")


def test_arrays_are_imported_when_another_size_is_asked_for(tmp_path: Path) -> None:
    root = write(tmp_path / "d", {"classes.json": json.dumps(["a", "b"]).encode()})
    np.save(root / "images.npy", np.full((4, 8, 8), 100, np.uint8))
    np.save(root / "labels.npy", np.array([0, 1, 1, 0]))

    data = imported(root, tmp_path / "out", image_size=4, channels="rgb")

    assert data.images.shape == (4, 4, 4, 3)
    assert (data.images == 100).all()
    assert data.labels.tolist() == [0, 1, 1, 0]


def test_every_image_that_cannot_be_used_is_named_at_once(tmp_path: Path) -> None:
    root = write(
        tmp_path / "d", {**TREE, "train/red/cut.png": png()[:40], "train/red/no.png": b"text", "train/red/notes.txt": b"", "x.png": png()}
    )

    found = problems(root, tmp_path)

    assert {problem.partition(":")[0] for problem in found[:4]} == {"train/red/cut.png", "train/red/no.png", "train/red/notes.txt", "x.png"}
    assert "train/red/no.png: it is not an image in a format that is known here" in found


def test_they_are_dropped_and_counted_when_the_spec_says_so(tmp_path: Path) -> None:
    root = write(tmp_path / "d", {**TREE, "train/red/0cut.png": png()[:40], "train/red/no.png": b"text"})

    data = imported(root, tmp_path / "out", on_bad_rows="drop")

    assert len(data.images) == len(data.labels) == len(data.keys()) == len(data.files() or []) == 4
    assert data.images[3, 0, 0].tolist() == [255, 0, 0]
    assert data.report()["rows_dropped"] == 2


def test_encrypted_and_damaged_members_are_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "d" / "a.zip", TREE)
    content = bytearray(path.read_bytes())
    place = content.find(TREE["train/red/1.png"])
    content[place + 20] ^= 0xFF  # its checksum no longer fits
    path.write_bytes(content)

    found = problems(tmp_path / "d", tmp_path)

    assert found[0].startswith("a.zip/train/red/1.png: it cannot be unpacked: Bad CRC-32")


def test_one_class_is_too_few(tmp_path: Path) -> None:
    root = write(tmp_path / "d", {"a/1.png": png(), "a/2.png": png(BLUE)})

    assert problems(root, tmp_path) == ["all images are of one class, 'a'; two at least are needed"]


def test_what_is_no_dataset_is_refused_with_what_would_be(tmp_path: Path) -> None:
    root = write(tmp_path / "d", {"notes.txt": b"nothing"})

    assert "holds neither folders of images" in problems(root, tmp_path)[0]


def test_different_sizes_become_one_square_and_grey_ones_among_coloured_coloured(tmp_path: Path) -> None:
    files = {"a/1.png": png(size=(20, 10)), "a/2.png": png(120, (12, 12), "L"), "b/3.png": png(BLUE, (30, 40))}

    data = imported(write(tmp_path / "d", files), tmp_path / "out")

    assert data.images.shape == (3, 12, 12, 3)
    assert data.images[1, 0, 0].tolist() == [120, 120, 120]
    assert data.report()["counts"] == {"images scaled to 12 x 12, for their sizes differ": 3}


def upright(image: Image.Image, **wanted: int) -> np.ndarray:
    return decode(encoded(image, "PNG"), **({"height": 4, "width": 4, "num_channels": 1} | wanted))


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (Image.new("1", (4, 4), 1), 255),
        (Image.fromarray(np.full((4, 4), 0x1234, np.uint16)), 0x12),
        (Image.new("LA", (4, 4), (0, 0)), 255),  # transparent: white
        (Image.new("LA", (4, 4), (40, 255)), 40),
        (Image.new("RGBA", (4, 4), (60, 60, 60, 255)), 60),
        (Image.new("P", (4, 4), 0), 0),
    ],
    ids=["bilevel", "16 bits", "transparent", "opaque", "rgba", "palette"],
)
def test_odd_modes_become_eight_bits(image: Image.Image, grey: int) -> None:
    assert (upright(image) == grey).all()
    assert (upright(image, num_channels=3) == grey).all()


def test_cmyk_becomes_rgb() -> None:
    found = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), height=8, width=8, num_channels=3)
    assert np.abs(found.astype(int) - RED).max() <= 8


def test_a_photograph_is_turned_as_its_tag_says() -> None:
    picture = Image.new("RGB", (8, 4), RED)
    exif = picture.getexif()
    exif[0x0112] = 6  # a viewer turns it by 90 degrees
    content = encoded(picture, "JPEG", exif=exif)

    assert header_of(content)[:2] == (8, 4)
    assert decode(content, height=8, width=4, num_channels=3).shape == (8, 4, 3)


def test_floating_point_pixels_and_absurd_sizes_are_refused() -> None:
    with pytest.raises(Unusable, match="floating-point"):
        decode(encoded(Image.new("F", (4, 4), 0.5), "TIFF"), height=4, width=4, num_channels=1)
    header = bytearray(png())
    header[16:24] = struct.pack(">II", 60_000, 60_000)
    with pytest.raises(Unusable):
        header_of(bytes(header))

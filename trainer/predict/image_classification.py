"""Classes of images: in files of their own, a .zip of them, a table with an image column, or an array as a dataset keeps it."""

import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.data.findings import Findings
from trainer.data.images.by_class import SUFFIXES, read_file, read_member
from trainer.data.images.decode import Unusable, decode
from trainer.data.images.listing import Content
from trainer.data.images.tabled import content_of
from trainer.data.table import READERS, read_table
from trainer.determinism import generator
from trainer.errors import InvalidData
from trainer.predict import predictor
from trainer.predict.predictor import Axes, BadInput, Record

TABLES = tuple(suffix for suffix in READERS if suffix != ".json")
MOST_PROBABILITIES = 20
Named = tuple[str, Callable[[], Content]]  # what an image is called, and how to get it


class Predictor(predictor.Predictor):
    suffixes = (*SUFFIXES, ".zip", ".npy", *TABLES)
    takes = "image"
    tables = TABLES
    content_suffixes = SUFFIXES
    reads_arrays = True

    @property
    def content_column(self) -> str:
        return str(self.config["preprocessing"]["image_column"])

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        """``probabilities`` are in the order of the package's labels, where these are few."""
        images = (named for path in inputs for named in self._images_of(Path(path)))
        while batch := list(islice(images, self.batch_size)):
            pixels = torch.from_numpy(np.stack([self._pixels(*named) for named in batch]))
            for (name, _), found in zip(batch, self._predictions(pixels), strict=True):
                yield {"input": name, **found}

    def answer(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        return self._predictions(self.prepare(records)["images"])

    def prepare(self, records: Sequence[Record]) -> dict[str, torch.Tensor]:
        """``images``, uint8 (N, H, W) or (N, H, W, C), of the bytes or the pixels of each record."""
        return {"images": torch.from_numpy(np.stack([self._decoded(record.get(self.content_column)) for record in records]))}

    def axes(self) -> Axes:
        return {"images": {0: "batch"}}

    def made_up(self, num: int) -> Sequence[Record]:
        shape = tuple(self.config["input"]["shape"][1:])
        pixels = torch.randint(256, (num, *shape), dtype=torch.uint8, generator=generator(num, *shape)).numpy()
        return [{self.content_column: image} for image in pixels]

    def _decoded(self, content: Any) -> Content:
        if not isinstance(content, bytes | np.ndarray):
            raise BadInput(f"column {self.content_column}: there is no image")
        wanted = self.config["preprocessing"]
        try:
            return decode(content, height=wanted["height"], width=wanted["width"], num_channels=wanted["num_channels"])
        except Unusable as error:
            raise BadInput(str(error)) from None

    def _predictions(self, pixels: torch.Tensor) -> list[dict[str, Any]]:
        return [self._prediction(probabilities) for probabilities in self.model(pixels.to(self.device)).float().softmax(1).cpu()]

    def _prediction(self, probabilities: torch.Tensor) -> dict[str, Any]:
        best = int(probabilities.argmax())
        found = {"label": self.config["labels"][best], "probability": round(float(probabilities[best]), 6)}
        if len(probabilities) <= MOST_PROBABILITIES:
            found["probabilities"] = [round(value, 6) for value in probabilities.tolist()]
        return found

    def _pixels(self, name: str, read: Callable[[], Content]) -> Content:
        try:
            return self._decoded(read())
        except (Unusable, BadInput) as error:
            raise BadInput(f"{name}: {error}") from None

    def _images_of(self, path: Path) -> Iterator[Named]:
        match path.suffix.lower():
            case ".zip":
                yield from images_in_archive(path)
            case ".npy":
                yield from images_in_array(path, tuple(self.config["input"]["shape"][1:]))
            case suffix if suffix in TABLES:
                yield from images_in_table(path, self.config["preprocessing"]["image_column"])
            case _:
                yield str(path), lambda: read_file(path)


def images_in_archive(path: Path) -> Iterator[Named]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from None
    with archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            if info.filename.lower().endswith(SUFFIXES) and not info.filename.startswith("__MACOSX"):
                content = _member(path, archive, info)
                yield f"{path}/{info.filename}", lambda content=content: content  # type: ignore[misc]


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return read_member(archive, info)
    except Unusable as error:
        raise BadInput(f"{path}/{info.filename}: {error}") from None


def images_in_array(path: Path, shape: tuple[int, ...]) -> Iterator[Named]:
    """One image of ``shape``, or any number of images."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from None
    images = array[None] if array.shape == shape else array
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3, shape[-1])):
        raise BadInput(f"{path} is {array.dtype} with shape {array.shape}, not uint8 images of {' x '.join(map(str, shape))}")
    for row, image in enumerate(images):
        yield f"{path}:{row}", lambda image=image: np.ascontiguousarray(image)  # type: ignore[misc]


def images_in_table(path: Path, column: str) -> Iterator[Named]:
    findings = Findings()
    table = read_table(path, findings)
    cells = table.column(column, findings)
    try:
        findings.settle("fail")
    except InvalidData as error:
        raise BadInput(str(error)) from None
    for position, cell in enumerate(cells):
        yield f"{path}:{table.rows[position]}", lambda cell=cell: content_of(cell, path.parent, path.parent)  # type: ignore[misc]

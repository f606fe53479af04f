"""A dataset as it is before the first step: rows that are read in batches, or a list of images that are read one by one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from core.recipes.preparable import FORMS, Described, problems_of
from trainer.data.findings import Findings
from trainer.data.folder import load_image_folder
from trainer.data.images.by_class import SUFFIXES as IMAGE_SUFFIXES
from trainer.data.images.by_class import list_archives, list_folder
from trainer.data.images.idx import idx_pairs, list_idx
from trainer.data.images.listing import Listing
from trainer.data.layout import find_parts
from trainer.data.table import READERS
from trainer.errors import InvalidData
from trainer.prepare.frame import Frame
from trainer.prepare.lines import Documents, read_columns, read_lines
from trainer.prepare.sounds import Sounds
from trainer.prepare.spooling import Places, Tick
from trainer.prepare.tables import read_frame
from trainer.profile.detection import AUDIO_SUFFIXES, by_task, form_of, table_files
from trainer.profile.files import files_below

OnBadRows = Literal["fail", "drop"]


@dataclass(frozen=True, slots=True)
class RowSource:
    """``suffix`` says how it is written again, ``stem`` how a file without a split is called.

    ``beside``: other files by their paths, which are handed on as they are. ``sounds`` where rows name recordings.
    """

    described: Described
    frame: Frame
    places: Places
    suffix: str
    stem: str = "data"
    beside: dict[str, Path] = field(default_factory=dict)
    documents: Documents | None = None
    sounds: Sounds | None = None
    num_left_out: int = 0


@dataclass(frozen=True, slots=True)
class ImageSource:
    """``classes``: names of the classes that are numbers, where the dataset has them."""

    described: Described
    listing: Listing
    classes: tuple[str, ...] = ()


Source = RowSource | ImageSource


def read_source(root: Path, on_bad_rows: OnBadRows, *, scratch: Path, tick: Tick) -> Source:
    """InvalidData with everything that cannot be read, or when steps know nothing to do with such a dataset."""
    kind, names, rows = form_of(root)
    form = FORMS.get(kind)
    if form is None:
        raise InvalidData([problem for _, problem in problems_of((), Described(kind))])
    if form in ("images", "idx", "arrays"):
        return _read_images(root, kind, on_bad_rows)
    if form in ("text", "conll"):
        return _read_documents(root, kind, on_bad_rows, scratch=scratch, tick=tick)
    has_audio = "audio" in by_task("speech-recognition", names, rows)
    has_tags = {"tokens", "tags"} <= by_task("token-classification", names, rows).keys()
    return _read_table(root, Described(kind, None, has_audio, has_tags), on_bad_rows, scratch=scratch, tick=tick)


def _read_table(root: Path, described: Described, on_bad_rows: OnBadRows, *, scratch: Path, tick: Tick) -> RowSource:
    findings = Findings()
    files = table_files(root)
    others = beside(root, files)
    # Of several tables the one that holds the rows, as the recipe that fits takes it.
    is_one_of_many = len(files) == 1 and sum(map(len, find_parts(root, tuple(READERS)).values())) > 1
    suffix = files[0].suffix.lower()
    frame, places = read_frame(files[0] if is_one_of_many else root, suffix, findings, scratch=scratch, tick=tick)
    findings.settle(on_bad_rows)
    return RowSource(
        described._replace(columns=tuple(frame.names)),
        frame,
        places,
        suffix,
        stem=files[0].stem if is_one_of_many else "data",
        beside=others,
        sounds=Sounds(others) if described.has_audio else None,
        num_left_out=findings.num_bad_rows,
    )


def _read_documents(root: Path, kind: str, on_bad_rows: OnBadRows, *, scratch: Path, tick: Tick) -> RowSource:
    findings, is_text = Findings(), kind == "text"
    read = read_lines if is_text else read_columns
    frame, places, documents = read(root, findings, scratch=scratch, tick=tick)
    findings.settle(on_bad_rows)
    if not frame.num_rows:
        raise InvalidData([f"there is no {'line' if is_text else 'sentence'} in it"])
    others = beside(root, list(documents.paths))
    suffix = ".txt" if is_text else ".conll"
    return RowSource(Described(kind), frame, places, suffix, beside=others, documents=documents, num_left_out=findings.num_bad_rows)


def _read_images(root: Path, kind: str, on_bad_rows: OnBadRows) -> ImageSource:
    findings = Findings()
    classes: tuple[str, ...] = ()
    if kind == "image-arrays":
        listing, classes = _arrays(root)
    elif kind == "idx":
        listing = list_idx(idx_pairs(root), findings)
    else:
        listing = list_folder(root, findings) if kind == "image-folder" else list_archives(root, findings)
    findings.settle(on_bad_rows)
    if not len(listing):
        raise InvalidData(["there is no image in it"])
    return ImageSource(Described(kind), listing, classes)


def _arrays(root: Path) -> tuple[Listing, tuple[str, ...]]:
    data = load_image_folder(root)
    listing = Listing(names=dict(enumerate(data.classes)))
    for row, label in enumerate(data.labels.tolist()):
        listing.add(label, part=data.parts[row] if data.parts else None, file="images.npy", row=row + 1)
    listing.read = lambda position: np.ascontiguousarray(data.images[position])
    return listing, data.classes


def beside(root: Path, tables: list[Path]) -> dict[str, Path]:
    """Recordings, images, names of tags: what lies beside the rows. InvalidData when tables in folders name such files."""
    if root.is_file():
        return {}
    others = {path.relative_to(root).as_posix(): path for path in files_below(root, follow_links=False) if path not in tables}
    media = [name for name in others if name.lower().endswith((*AUDIO_SUFFIXES, *IMAGE_SUFFIXES))]
    if media and any(path.parent != root for path in tables):
        raise InvalidData(["its tables lie in folders with other files, and the paths in them would lead nowhere; put the tables on top"])
    return others

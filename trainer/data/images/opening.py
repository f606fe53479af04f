"""The images of a run, memory-mapped: a folder of arrays as it lies there, anything else through the cache of prepared data."""

import importlib
from pathlib import Path

from core.recipes.image_classification import Data
from trainer.data.cache import data_digest, prepared
from trainer.data.folder import ImageFolder, load_image_folder
from trainer.state import Run

FORMAT = 1  # of what the import writes; another number imports again
DECIDING = {
    "on_bad_rows",
    "split_column",
    "group_column",
    "time_column",
    "image_size",
    "channels",
    "image_column",
    "label_column",
    "label_name_column",
}


def open_images(run: Run, root: Path, knobs: Data) -> ImageFolder:
    """A collective. Raises InvalidData with everything that is wrong."""
    if (root / "images.npy").exists():
        data = load_image_folder(root)
        if _fits(data, knobs):
            return data
    key = {"images": FORMAT, "data": data_digest(run), **knobs.model_dump(mode="json", include=DECIDING)}

    def build(out: Path) -> None:
        importing = importlib.import_module("trainer.data.images.importing")  # Pillow and pyarrow, for those who need them
        importing.import_images(root, knobs, out)

    return load_image_folder(prepared(run, key, build))


def _fits(data: ImageFolder, knobs: Data) -> bool:
    """Whether arrays are already what the spec asks for."""
    size_fits = knobs.image_size == "auto" or data.size == (knobs.image_size, knobs.image_size)
    channels_fit = knobs.channels == "auto" or data.num_channels == (1 if knobs.channels == "grey" else 3)
    return size_fits and channels_fit

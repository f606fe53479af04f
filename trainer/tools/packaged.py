"""The package that a tool works with, and the folder that it fills."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import InvalidData, StorageFailed
from trainer.predict import predictor_class
from trainer.predict.loading import load_model, read_config
from trainer.predict.predictor import BadInput, Predictor
from trainer.state import Run


def base_model_of(run: Run) -> Path:
    if run.file.base_model_dir is None:
        raise InvalidData(["this recipe needs a base model, and spec.json names no folder of one"])
    return Path(run.file.base_model_dir)


def open_predictor(run: Run, *, device: str | None = None) -> Predictor:
    """The base model, verified and on the run's device, or another. InvalidData when it is no package of ours that can be used."""
    folder = base_model_of(run)
    try:
        config = read_config(folder)
        found = predictor_class(config["recipe"])
        return found(folder, config, load_model(folder, config, device or str(run.ranks.device)))
    except BadInput as error:
        raise InvalidData([f"the base model cannot be used: {error}".replace(f"{folder}", folder.name)]) from None


@contextmanager
def storing() -> Iterator[None]:
    """Around all that reads rows and writes artifacts: what the disk refuses is a failure of storage."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"a disk refused: {error}") from error

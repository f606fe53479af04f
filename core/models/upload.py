"""Whether uploaded files are a model that may be kept: weights as safetensors, and nothing that is unpickled when it is read."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from core.artifacts.checkpoints import check_paths
from core.artifacts.store import ByteStore
from core.errors import InvalidInput, Problem
from core.manifest import Manifest, ManifestFile
from core.models.safetensors import BadSafetensors, Read, check_safetensors

WEIGHTS = ".safetensors"
# To read one of these is to run whatever its author has put in.
PICKLES = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".mar"})


def check_names(files: Sequence[ManifestFile]) -> None:
    """InvalidInput, with the place of each, for names of pickles and two files of one name, and when there are no weights."""
    check_paths(Manifest(files=tuple(files)))
    problems = [
        Problem(f"/files/{number}/path", f"{file.path} is named like a pickle, which runs code when it is read; save {WEIGHTS}", "pickle")
        for number, file in enumerate(files)
        if _suffix(file) in PICKLES
    ]
    if not any(_suffix(file) == WEIGHTS for file in files):
        problems.append(Problem("/files", f"a model needs its weights as {WEIGHTS}; .onnx and .pt2 may lie beside them", "no_weights"))
    if problems:
        raise InvalidInput(problems=problems)


def check_contents(store: ByteStore, files: Sequence[ManifestFile]) -> None:
    """InvalidInput for weights that are broken; of each the header is read, whose length is limited.

    The caller has made sure that the project has brought these bytes: what is said of them must be its own.
    """
    problems = []
    for number, file in enumerate(files):
        if _suffix(file) == WEIGHTS:
            try:
                check_safetensors(_reading(store, file), file.size)
            except BadSafetensors as error:
                problems.append(Problem(f"/files/{number}", f"{file.path}: {error}", "bad_safetensors"))
    if problems:
        raise InvalidInput(problems=problems)


def _suffix(file: ManifestFile) -> str:
    return PurePosixPath(file.path).suffix.lower()


def _reading(store: ByteStore, file: ManifestFile) -> Read:
    return lambda start, end: b"".join(store.read(file.sha256, start, end))

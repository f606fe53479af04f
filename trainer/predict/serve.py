"""``python -m trainer.predict.serve MODEL_DIR``: one package, loaded once, that answers frames on standard input.

The first frame out is ``{"ready": true, "takes": ..., "seconds": ...}``, or ``{"failure": ...}`` for a package that cannot be
used, and exit code 2. Each frame in is ``{"id": ..., "rows": [...], "files": [...], "more": bool}``: rows are JSON values, and
of those whose places ``files`` lists, the frame's byte strings are the values, in this order. ``more`` says that the next
frame belongs to the same batch. What has come together is predicted together, and each frame is answered by
``{"id": ..., "results": [...], "batch_size": ..., "seconds": ...}``.
The end of the input ends the process with 0, a broken frame with 3. It holds no token and asks no network.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from core.frames import BadFrame, Frame, has_more, read_frame, write_frame
from trainer.lifeline import die_with_parent
from trainer.predict import predictor_class
from trainer.predict.loading import lacks_memory, load_model, read_config
from trainer.predict.predictor import BadInput, Predictor
from trainer.predict.sent_rows import Row, RowPredictor

MAX_ROWS = 256  # of frames that are read together
STDIN, STDOUT, STDERR = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer.predict.serve", description="Answers predictions of one package over pipes.")
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--parent", type=int, help="the pid that must be ours")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--max-bytes", type=int, help="memory that this process may take; by default it has no limit")
    parser.add_argument("--scratch", type=Path, help="a folder for short-lived files")
    asked = parser.parse_args(arguments)
    die_with_parent(asked.parent)
    if asked.max_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (asked.max_bytes, asked.max_bytes))
    answers = _own_stdout()
    began = time.monotonic()
    try:
        predictor = load(asked.model, asked.device)
    except BadInput as error:
        write_frame(answers, Frame({"failure": str(error)}))
        return 2
    write_frame(answers, Frame({"ready": True, "takes": predictor.takes, "seconds": time.monotonic() - began}))
    _fall_silent()
    try:
        serve(predictor, STDIN, answers, scratch=asked.scratch)
    except BadFrame:
        return 3
    except BrokenPipeError:
        return 0
    return 0


def load(folder: Path, device: str) -> Predictor:
    """The package's predictor. BadInput for a package that cannot be used, whatever is wrong with it."""
    config = read_config(folder)
    found = predictor_class(config["recipe"])
    try:
        return found(folder, config, load_model(folder, config, device))
    except BadInput:
        raise
    except Exception as error:
        if lacks_memory(error):
            limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
            raise BadInput(f"it does not fit into the memory that this node lends a model: {limit >> 20:,} MiB") from None
        # Packages come from anywhere: whatever one of them breaks is wrong with that package.
        raise BadInput(f"{folder.name} is no whole package: {type(error).__name__}: {error}") from None


def serve(predictor: Predictor, source: int, answers: int, *, scratch: Path | None) -> None:
    """Until ``source`` ends. BadFrame when it breaks; BrokenPipeError when nobody reads the answers."""
    with tempfile.TemporaryDirectory(prefix="predictions-", dir=scratch) as folder, torch.inference_mode():
        rows_predictor = RowPredictor(predictor, Path(folder))
        while frames := read_batch(source):
            for header in answered(rows_predictor, frames):
                write_frame(answers, Frame(header))


def read_batch(source: int) -> list[Frame]:
    """The next frame and what has come with it; none at the end of the input."""
    frames: list[Frame] = []
    num_rows = 0
    while not frames or (num_rows < MAX_ROWS and (frames[-1].header.get("more") or has_more(source))):
        frame = read_frame(source)
        if frame is None:
            break
        frames.append(frame)
        num_rows += len(_rows_of(frame))
    return frames


def answered(rows_predictor: RowPredictor, frames: list[Frame]) -> Iterator[dict[str, Any]]:
    """The header that answers each frame."""
    began = time.monotonic()
    rows = [_rows_of(frame) for frame in frames]
    results = iter(rows_predictor.predict([row for own in rows for row in own]))
    seconds, batch_size = time.monotonic() - began, sum(map(len, rows))
    for frame, own in zip(frames, rows, strict=True):
        own_results = [next(results) for _ in own]
        yield {"id": frame.header.get("id"), "results": own_results, "batch_size": batch_size, "seconds": seconds}


def _rows_of(frame: Frame) -> list[Row]:
    rows, places = frame.header.get("rows"), frame.header.get("files", [])
    if not isinstance(rows, list) or not isinstance(places, list) or len(places) != len(frame.blobs):
        raise BadFrame("a frame without rows, or with other files than it lists")
    whole = list(rows)
    for place, blob in zip(places, frame.blobs, strict=True):
        if type(place) is not int or not 0 <= place < len(whole):
            raise BadFrame("a file of a row that there is not")
        whole[place] = blob
    return whole


def _own_stdout() -> int:
    """A descriptor of the pipe for answers alone: what a library prints goes to standard error."""
    answers = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    return answers


def _fall_silent() -> None:
    """What a library says from now on could quote a row, and rows go to no log."""
    for fd in (STDOUT, STDERR):
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), fd)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())

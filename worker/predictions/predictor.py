"""One process with one model in it, asked over its pipes; see ``trainer/predict/serve.py`` for what is said."""

import logging
import os
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from core.frames import BadFrame, Frame, read_frame, write_frame
from core.wire.predictions import MAX_ERROR, PredictionTask, RequestAnswer
from worker.launcher import Piped

log = logging.getLogger("trainyard.worker.predictions")

LOAD_SECONDS = 180.0
END_SECONDS = 1.0
MAX_TAIL = 2_000  # characters
MAX_ROUND_ROWS = 256  # the process reads as much before it answers
# It must not take from jobs what they were given: no GPU, one thread.
MODEST = {
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class PredictorFailed(Exception):
    """``refused``: the package cannot be used, and never will. ``unavailable``: the process is gone, another may do better."""

    def __init__(self, kind: Literal["refused", "unavailable"], message: str) -> None:
        super().__init__(message[:MAX_ERROR])
        self.kind = kind


class Predictor:
    """Loads the package in ``folder``; ``home`` is for its short-lived files, ``max_bytes`` what it may take of memory.

    Raises PredictorFailed, and leaves no process then.

    Start it in a thread that lives as long: the kernel ends the process with the thread that started it.
    """

    def __init__(self, folder: Path, *, home: Path, environ: Mapping[str, str], max_bytes: int | None = None) -> None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        began = time.monotonic()
        self._errors = home / "errors.log"
        argv = ["-m", "trainer.predict.serve", str(folder), "--parent", str(os.getpid()), "--scratch", str(home)]
        argv += [] if max_bytes is None else ["--max-bytes", str(max_bytes)]
        self._process = Piped(argv, {**environ, **MODEST}, errors=self._errors)
        try:
            header = self._read(time.monotonic() + LOAD_SECONDS)
            if "failure" in header:
                raise PredictorFailed("refused", f"this model cannot predict: {header['failure']}".replace(f"{folder}", "the package"))
        except BaseException:
            self._process.end()
            self._tell_errors()
            raise
        self.takes = str(header.get("takes"))
        self.load_seconds = time.monotonic() - began

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.exit_code(0) is None

    def close(self) -> None:
        self._process.end()

    def _tell_errors(self) -> None:
        """What the process printed while it loaded, for the operator. No row has come to it yet."""
        tail = self._errors.read_text(errors="replace")[-MAX_TAIL:]
        if tail.strip():
            log.warning("a model did not load", extra={"event": "predictor.not_loaded", "tail": tail})

    def ask(self, tasks: Sequence[PredictionTask], *, deadline: float) -> list[RequestAnswer]:
        """An answer for each task, in their order; ``deadline`` in monotonic seconds. After PredictorFailed it is of no use any more."""
        return [answer for part in _rounds(tasks) for answer in self._ask_round(part, deadline)]

    def _ask_round(self, tasks: Sequence[PredictionTask], deadline: float) -> Iterator[RequestAnswer]:
        try:
            for number, task in enumerate(tasks, 1):
                write_frame(self._process.sink, _frame_of(task, is_last=number == len(tasks)), deadline=deadline)
        except BrokenPipeError:
            raise self._gone() from None
        except TimeoutError:
            raise PredictorFailed("unavailable", "the model did not answer in time") from None
        for task in tasks:
            yield _answer_of(task, self._read(deadline))

    def _read(self, deadline: float) -> dict[str, Any]:
        try:
            frame = read_frame(self._process.source, deadline=deadline)
        except TimeoutError:
            raise PredictorFailed("unavailable", "the model did not answer in time") from None
        except BadFrame:
            raise self._gone() from None
        if frame is None:
            raise self._gone()
        return frame.header

    def _gone(self) -> PredictorFailed:
        code = self._process.exit_code(END_SECONDS)
        how = "broke off" if code is None else f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return PredictorFailed("unavailable", f"the process that holds the model {how}; it is started anew for the next request")


def _rounds(tasks: Sequence[PredictionTask]) -> Iterator[list[PredictionTask]]:
    """Tasks in turn, as many at once as the process takes before it begins to answer: else both would wait for the other to read."""
    part: list[PredictionTask] = []
    for task in tasks:
        if part and sum(len(other.rows) for other in part) + len(task.rows) > MAX_ROUND_ROWS:
            yield part
            part = []
        part.append(task)
    if part:
        yield part


def _frame_of(task: PredictionTask, *, is_last: bool) -> Frame:
    """The task's rows; those that are files go as bytes."""
    rows: list[Any] = []
    files: dict[int, bytes] = {}
    for place, row in enumerate(task.rows):
        is_file = isinstance(row, dict) and set(row) == {"base64"}
        if is_file:
            files[place] = b64decode(str(row["base64"]))  # type: ignore[call-overload, index]
        rows.append(None if is_file else row)
    return Frame({"id": task.id, "rows": rows, "files": list(files), "more": not is_last}, list(files.values()))


def _answer_of(task: PredictionTask, header: dict[str, Any]) -> RequestAnswer:
    found = {"request_id": header.get("id"), "rows": header.get("results")}
    try:
        answer = RequestAnswer.model_validate(
            {**found, "batch_size": header.get("batch_size"), "predict_seconds": header.get("seconds")}, strict=False
        )
    except ValidationError:
        raise PredictorFailed("unavailable", "the model answered what is no prediction") from None
    if answer.request_id != task.id or answer.rows is None or len(answer.rows) != len(task.rows):
        raise PredictorFailed("unavailable", "the model answered something else than what was asked")
    return answer

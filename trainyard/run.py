"""For scripts of your own: metrics, checkpoints that a fault resumes from, datasets, and being asked to stop. Standard library only.

    from trainyard import run

    start = load(run.resume_from())             # None at the first attempt
    for step in range(start, 1000):
        run.log(step, loss=train_step())
        if step % 100 == 0 or run.stop_requested():
            torch.save(model.state_dict(), "model.pt")
            run.save_checkpoint("model.pt", step=step)
        if run.stop_requested():
            break

Without the service the same calls work on the folder ``./trainyard-run``. Every rank may make them: ``log`` and ``save_checkpoint``
act on rank 0 alone. The files are those of ``docs/RUN_DIR.md``.
"""

import hashlib
import json
import math
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["checkpoint_dir", "dataset", "log", "output_dir", "resume_from", "save_checkpoint", "secret", "stop_requested"]

_LOCAL = "trainyard-run"
_MANIFEST = "manifest.json"
_KEPT = 2
_stop = threading.Event()
_state: dict[str, Any] = {"listens": False, "seq": 0, "step": 0, "checkpoint_step": None}


def log(step: int, **values: float) -> None:
    """Writes one point of each metric. ``values`` are anything that ``float`` takes; NaN and infinity are kept as gaps."""
    if not _is_first():
        return
    numbers = {name: float(value) for name, value in values.items()}
    if int(step) < 0:
        raise ValueError("a step is 0 or more")
    _state["seq"] += 1
    finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    line = {"seq": _state["seq"], "step": int(step), "at": time.time(), "values": finite}
    # One write of a whole line to a file that is opened for appending: two writers do not mix.
    with open(_root() / "metrics.jsonl", "ab", buffering=0) as file:
        file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
    _state["step"] = max(_state["step"], int(step))
    _tell_progress()


def checkpoint_dir() -> Path:
    """A folder that outlives this attempt: once its files have come to rest they are kept, and lie there again after a fault.

    ``save_checkpoint`` is the other way; a script that uses it is not watched here.
    """
    return _folder("CHECKPOINT_DIR", "checkpoint-dir")


def output_dir() -> Path:
    """A folder whose files become artifacts of the job."""
    return _folder("OUTPUT_DIR", "output")


def resume_from() -> Path | None:
    """The folder with the newest checkpoint of an earlier attempt, None when there is none: begin at the beginning."""
    if _given("DIR"):
        told = _given("RESUME_FROM")
        return Path(told) if told else None
    complete = sorted(path.parent for path in _saved().glob(f"step-*/{_MANIFEST}"))
    return complete[-1] if complete else None


def save_checkpoint(path: str | os.PathLike[str], *, step: int) -> None:
    """Keeps a copy of a file, or of all files below a folder, as the checkpoint of ``step``; it is uploaded behind your back.

    Returns when the copy is whole and durable. After a fault ``resume_from()`` names a folder with the file, or with the folder's files.
    FileNotFoundError when there is nothing at ``path``. Ranks that write parts of one checkpoint call it after a barrier.
    """
    if not _is_first():
        return
    source, folder = Path(path), _saved()
    if int(step) < 0:
        raise ValueError("a step is 0 or more")
    part, complete = folder / f".tmp-step-{int(step)}", folder / f"step-{int(step):012d}"
    shutil.rmtree(part, ignore_errors=True)
    if source.is_dir():
        shutil.copytree(source, part)
    else:
        part.mkdir(parents=True)
        shutil.copy2(source, part / source.name)
    _seal(part, {"kind": "saved", "step": int(step)})
    if complete.exists():  # saved again by a loop that went on from here
        shutil.rmtree(complete)
    part.rename(complete)
    _sync(folder)
    for old in sorted(folder.glob("step-*"), reverse=True)[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    _state["checkpoint_step"] = int(step)
    _tell_progress()


def stop_requested() -> bool:
    """Whether the service asks this run to end: save a checkpoint and leave. The first call takes over SIGTERM, in the main thread."""
    is_main = threading.current_thread() is threading.main_thread()
    if not _state["listens"] and is_main:
        signal.signal(signal.SIGTERM, _note_stop)
        _state["listens"] = True
    if not _stop.is_set() and Path(_given("STOP_FILE") or _root() / "stop.json").exists():
        _stop.set()
        if is_main:
            _ignore_more()
    return _stop.is_set()


def dataset(name: str = "training") -> Path:
    """Where a dataset of the job lies, by its channel: a folder or a file. KeyError for a channel that the job does not have.

    Without the service: the folder or file of that name in ``./trainyard-run/data``.
    """
    if not _given("DIR"):
        return _root() / "data" / name
    channels: dict[str, str] = json.loads(_given("CHANNELS") or "{}")
    if name not in channels:
        raise KeyError(f"this job has no dataset {name!r}; it has {', '.join(sorted(channels)) or 'none'}")
    return Path(channels[name])


def secret(name: str) -> str:
    """The value of a secret that the job's spec names. KeyError when it names none of this name."""
    folder = _given("SECRETS_DIR") or str(_root() / "secrets")
    path = Path(folder, name)
    if Path(name).name != name or not path.is_file():
        raise KeyError(f"this job was given no secret {name!r}")
    return path.read_text(encoding="utf-8")


def _given(name: str) -> str | None:
    return os.environ.get(f"TRAINYARD_RUN_{name}")  # why: the service tells a script its place here and nowhere else


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"  # why: torchrun's


def _root() -> Path:
    root = Path(_given("DIR") or _LOCAL)
    root.mkdir(parents=True, exist_ok=True)
    return root


def _saved() -> Path:
    folder = Path(_given("SAVED_DIR") or _root() / "checkpoints")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _folder(name: str, local: str) -> Path:
    folder = Path(_given(name) or _root() / local)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _note_stop(number: int, frame: FrameType | None) -> None:
    _stop.set()
    _ignore_more()


def _ignore_more() -> None:
    """The signal may come when the file has been seen and Python is ending: it would then undo our handler, and the signal end it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _tell_progress() -> None:
    """Replaced in one step: its age is how the service tells a hang."""
    path = _root() / "progress.json"
    progress = {"phase": "training", "step": _state["step"], "checkpoint_step": _state["checkpoint_step"], "at": time.time()}
    temporary = path.with_name(f".progress.{os.getpid()}")
    temporary.write_text(json.dumps(progress))
    temporary.replace(path)


def _seal(root: Path, meta: dict[str, Any]) -> None:
    """As ``core.manifest.seal``: every file durable, then the manifest that names them with size and SHA-256."""
    files = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        _sync(path)
        files.append({"path": path.relative_to(root).as_posix(), "size": path.stat().st_size, "sha256": digest})
    (root / _MANIFEST).write_text(json.dumps({"files": files, "meta": meta}))
    for path in (root / _MANIFEST, *(path for path in root.rglob("*") if path.is_dir()), root):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Chooses the checkpoint that an attempt goes on from: the newest that verifies, on this node or in the store."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.manifest import ManifestError, seal, verify
from core.run_dir import RunDir
from core.wire.worker import CheckpointSource
from worker.api_client import ApiRefused
from worker.download import Downloader, WrongBytes

log = logging.getLogger("trainyard.worker.resume")


@dataclass(frozen=True, slots=True)
class ResumePoint:
    step: int
    folder: Path


def choose_checkpoint(
    *,
    local: Sequence[RunDir],
    stored: Sequence[CheckpointSource],
    downloads: Path,
    downloader: Downloader,
    report: Callable[[str, str], None],
) -> ResumePoint | None:
    """The highest step that verifies, a local copy before a download. None: start at step 0.

    ``report`` takes an event's type and message. What is corrupt is reported and passed over; it stays on the disk under
    another name. An attempt that had something to resume from, but nothing sound, says so as ``resume_from_scratch``.
    """
    # Also those without a manifest: a folder gets its name after its manifest, so one without has been damaged.
    folders = {step_of(folder): folder for run_dir in reversed(local) for folder in run_dir.checkpoint_folders()}
    sources = {source.step: source for source in reversed(stored)}
    for step in sorted({*folders, *sources}, reverse=True):
        if step in folders and _is_sound(folders[step], report):
            return ResumePoint(step, folders[step])
        if step in sources and (folder := _download(sources[step], downloads, downloader, report)):
            return ResumePoint(step, folder)
    if folders or sources:
        report("resume_from_scratch", "no checkpoint could be used; training starts again at step 0")
    return None


def step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _is_sound(folder: Path, report: Callable[[str, str], None]) -> bool:
    try:
        verify(folder)
    except (ManifestError, OSError) as error:
        report("checkpoint.corrupt", f"not resumed from: {error}")
        _quarantine(folder)
        return False
    return True


def _quarantine(folder: Path) -> None:
    """Kept for whoever looks into it, under a name that nothing resumes from."""
    try:
        folder.rename(folder.with_name(f"corrupt-{folder.name}"))
    except OSError as error:
        log.warning("a corrupt checkpoint keeps its name", extra={"event": "checkpoint.not_quarantined", "cause": str(error)})


def _download(source: CheckpointSource, downloads: Path, downloader: Downloader, report: Callable[[str, str], None]) -> Path | None:
    folder = downloads / f"step-{source.step:012d}"
    try:
        downloader.fetch(source.manifest, folder)
    except (WrongBytes, ApiRefused) as error:
        report("checkpoint.corrupt", f"the stored checkpoint of step {source.step} cannot be used: {error}")
        return None
    seal(folder, source.manifest.meta)
    return folder

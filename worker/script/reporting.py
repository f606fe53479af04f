"""What a script reports to trackers that it knows: the server beside it, and what of its files is ours to ship."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from core.run_dir import MetricLine, ProgressFile, RunDir, read_complete_lines, read_model
from worker.script.event_files import Scalars
from worker.tracking.folder import ParamsFile, TrackingFolder
from worker.tracking.process import DidNotListen, TrackingProcess, environment, make_token

log = logging.getLogger("trainyard.worker.script")

FOLDER, TOKEN = "tracking", "tracking.token"


class Reporting:
    """``earlier`` are the run directories of the job's attempts before, the newest first. ``launch`` it in a thread that lives on."""

    def __init__(self, run_dir: RunDir, job_id: str, *, earlier: Sequence[RunDir] = ()) -> None:
        self.folder = TrackingFolder(run_dir.root / FOLDER)
        self.token = run_dir.root / TOKEN
        self._job_id = job_id
        before = next((path for path in (other.root / FOLDER for other in earlier) if path.is_dir()), None)
        self._server = TrackingProcess(self.folder.root, run_id=job_id, token_file=self.token, carry_from=before)
        self._offset = 0

    def launch(self, environ: Mapping[str, str]) -> None:
        """Starts the server, which takes its time while the rest is prepared."""
        make_token(self.token)
        self._server.launch(environ)

    def start(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The variables that lead the script to the server, once it listens; raises DidNotListen."""
        return environment(self._server.start(environ), self.token, run_id=self._job_id, base=environ)

    def look_after(self, environ: Mapping[str, str]) -> None:
        """Starts the server again where it has died: it takes the same port, and the script's client tries again."""
        if self._server.pid is None and self.token.exists():
            try:
                self._server.start(environ)
            except DidNotListen as error:
                log.warning("the tracking server is gone", extra={"event": "script.tracking_gone", "error": str(error)})

    def stop(self) -> None:
        """Its files are whole afterwards, and its token opens nothing."""
        self._server.stop()
        self.token.unlink(missing_ok=True)

    def read(self) -> list[Scalars]:
        """The points that are new since the last call."""
        try:
            lines, self._offset = read_complete_lines(self.folder.metrics, self._offset)
        except OSError:  # the script has put something else in its place
            return []
        found = []
        for line in lines:
            try:
                point = MetricLine.model_validate_json(line)
            except ValidationError:
                continue  # not of our server: the script may write there too
            found.append(Scalars(point.step, point.at, point.values))
        return found

    def progress(self) -> ProgressFile | None:
        try:
            return read_model(self.folder.progress, ProgressFile)
        except (ValidationError, OSError):
            return None

    def keep(self, folder: Path) -> None:
        """Puts what a person would look for later beside the artifacts that the script logged; nothing where nothing was reported."""
        for path in (self.folder.params, self.folder.tags, self.folder.runs) if self._was_used() else ():
            if path.is_file() and not path.is_symlink():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copyfile(path, folder / path.name)

    def _was_used(self) -> bool:
        has_points = self.folder.metrics.is_file() and self.folder.metrics.stat().st_size > 0
        has_files = self.folder.artifacts.is_dir() and any(self.folder.artifacts.iterdir())
        try:
            told = read_model(self.folder.params, ParamsFile)
        except (ValidationError, OSError):
            told = None
        return has_points or has_files or bool(told and told.values)

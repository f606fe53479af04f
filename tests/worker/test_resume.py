"""Which checkpoint an attempt goes on from: local and stored ones, corrupt and missing ones."""

from pathlib import Path

import pytest

from core.manifest import Manifest, seal
from core.run_dir import RunDir
from core.wire.worker import CheckpointRequest, CheckpointSource
from tests.worker.leased import LeasedAttempt
from worker.download import Downloader
from worker.resume import ResumePoint, choose_checkpoint
from worker.uploader import OpenFiles, Uploader


class Situation:
    """Checkpoints here and in the store, and what the choice reported."""

    def __init__(self, attempt: LeasedAttempt, root: Path) -> None:
        self._attempt = attempt
        self._root = root
        self.local: list[RunDir] = []
        self.stored: list[CheckpointSource] = []
        self.reports: list[str] = []

    def keep_locally(self, number: int, *steps: int) -> RunDir:
        run_dir = RunDir.create(self._root / f"a{number}")
        for step in steps:
            _write(run_dir.checkpoint(step), f"step {step}")
        self.local.insert(0, run_dir)
        return run_dir

    def store(self, *steps: int) -> None:
        for step in steps:
            folder = self._root / "uploaded" / str(step)
            manifest = _write(folder, f"step {step}")
            with OpenFiles(folder, manifest) as files:
                Uploader(self._attempt.api, self._attempt.patience, self._attempt.given_up).upload(files)
            self._attempt.api.add_checkpoint(CheckpointRequest(step=step, manifest=manifest))
            claim = self._attempt.claim
            self.stored.insert(0, CheckpointSource(attempt_id=claim.attempt_id, attempt=1, step=step, manifest=manifest))

    def choose(self) -> ResumePoint | None:
        return choose_checkpoint(
            local=self.local,
            stored=self.stored,
            downloads=self._root / "resume",
            downloader=Downloader(self._attempt.api, self._attempt.patience),
            report=lambda kind, _: self.reports.append(kind),
        )


def _write(folder: Path, content: str) -> Manifest:
    (folder / "deep").mkdir(parents=True)
    (folder / "model").write_text(content)
    (folder / "deep" / "state.json").write_text("{}")
    return seal(folder, {"step": 1})


@pytest.fixture
def situation(attempt: LeasedAttempt, tmp_path: Path) -> Situation:
    return Situation(attempt, tmp_path / "node")


def test_a_first_attempt_starts_from_nothing_and_says_nothing(situation: Situation) -> None:
    assert situation.choose() is None
    assert situation.reports == []


def test_the_highest_step_wins_wherever_it_lies(situation: Situation) -> None:
    run_dir = situation.keep_locally(1, 3, 7)
    situation.store(5)
    assert situation.choose() == ResumePoint(7, run_dir.checkpoint(7))


def test_a_stored_one_that_is_ahead_is_downloaded_whole(situation: Situation) -> None:
    situation.keep_locally(1, 3)
    situation.store(4, 6)
    point = situation.choose()
    assert point is not None
    assert (point.step, (point.folder / "model").read_text(), (point.folder / "deep" / "state.json").read_text()) == (6, "step 6", "{}")


def test_a_local_copy_of_the_same_step_spares_the_download(situation: Situation) -> None:
    run_dir = situation.keep_locally(1, 6)
    situation.store(6)
    assert situation.choose() == ResumePoint(6, run_dir.checkpoint(6))


def test_the_newest_attempt_of_this_node_is_asked_first(situation: Situation) -> None:
    situation.keep_locally(1, 6)
    newer = situation.keep_locally(2, 6)
    assert situation.choose() == ResumePoint(6, newer.checkpoint(6))


@pytest.mark.parametrize("damage", ["flip", "truncate", "no_manifest", "no_file"])
def test_promise_11_a_damaged_checkpoint_is_reported_kept_aside_and_passed_over(situation: Situation, damage: str) -> None:
    run_dir = situation.keep_locally(1, 3, 7)
    newest = run_dir.checkpoint(7)
    match damage:
        case "flip":
            (newest / "model").write_text("step 8")
        case "truncate":
            (newest / "model").write_text("step")
        case "no_manifest":
            (newest / "manifest.json").unlink()
        case "no_file":
            (newest / "model").unlink()
    assert situation.choose() == ResumePoint(3, run_dir.checkpoint(3))
    assert situation.reports == ["checkpoint.corrupt"]
    assert not newest.exists()
    assert newest.with_name(f"corrupt-{newest.name}").is_dir()


def test_a_damaged_local_copy_is_replaced_by_the_stored_one(situation: Situation) -> None:
    run_dir = situation.keep_locally(1, 7)
    (run_dir.checkpoint(7) / "model").write_text("flipped")
    situation.store(7)
    point = situation.choose()
    assert point is not None
    assert (point.step, (point.folder / "model").read_text()) == (7, "step 7")


def test_a_stored_one_that_is_gone_is_passed_over(situation: Situation) -> None:
    situation.store(5)
    ghost = Manifest.model_validate({"files": [{"path": "model", "size": 3, "sha256": "0" * 64}]})
    situation.stored.insert(0, situation.stored[0].model_copy(update={"step": 9, "manifest": ghost}))
    point = situation.choose()
    assert point is not None
    assert point.step == 5
    assert situation.reports == ["checkpoint.corrupt"]


def test_with_nothing_sound_left_it_starts_again_and_says_so_loudly(situation: Situation) -> None:
    run_dir = situation.keep_locally(1, 3)
    (run_dir.checkpoint(3) / "model").unlink()
    assert situation.choose() is None
    assert situation.reports == ["checkpoint.corrupt", "resume_from_scratch"]


def test_a_download_goes_on_where_it_broke(attempt: LeasedAttempt, situation: Situation) -> None:
    situation.store(5)
    attempt.proxy.cut()
    point = situation.choose()
    assert point is not None
    assert point.step == 5

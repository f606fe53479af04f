"""What goes in and what comes out: code, requirements, the contract, artifacts, checkpoints of a folder, masked output."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from core import logs
from core.manifest import ManifestFile, read_manifest, seal, sha256_of
from core.recipes import parse_spec
from core.recipes.script import ScriptSpec
from core.run_dir import RunDir
from core.states import Reason
from tests.core.made_archives import make_tar, make_zip
from tests.worker.leased import LeasedAttempt
from worker.cache_use import CacheUse
from worker.download import Downloader
from worker.log_streams import masked
from worker.materialise import CannotPrepare, Materialiser
from worker.resume import ResumePoint
from worker.script.code import place_code
from worker.script.contract import Setting, arguments, encoded, environment, in_place, write_inputs
from worker.script.harvest import Harvest
from worker.script.layout import ScriptDirs
from worker.script.requirements import requirements_of
from worker.script.secrets import hand_over, take_back
from worker.script.snapshots import FolderCheckpoints, restore


def script(**changes: Any) -> ScriptSpec:
    base = {"recipe": "script", "code": {"files": {"train.py": "print(1)"}}, "entrypoint": "train.py"}
    spec = parse_spec(json.dumps({**base, **changes}))
    assert isinstance(spec, ScriptSpec)
    return spec


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run")


@pytest.fixture
def dirs(run_dir: RunDir) -> ScriptDirs:
    dirs = ScriptDirs.of(run_dir)
    dirs.create()
    return dirs


@pytest.fixture
def materialiser(attempt: LeasedAttempt, tmp_path: Path) -> Materialiser:
    (tmp_path / "roots").mkdir()
    return Materialiser(tmp_path / "cache", [tmp_path / "roots"], Downloader(attempt.api, attempt.patience), lambda: None, uses=CacheUse())


def place_in_cache(materialiser: Materialiser, archive: Path) -> dict[str, Any]:
    """As if the archive had been uploaded and downloaded."""
    described = ManifestFile(path="code", size=archive.stat().st_size, sha256=sha256_of(archive))
    folder = materialiser.cache / "models"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "part"
    part.mkdir()
    (part / "code").write_bytes(archive.read_bytes())
    seal(part, {})
    part.rename(folder / content_key_of(described))
    return {"sha256": described.sha256, "size": described.size}


def content_key_of(described: ManifestFile) -> str:
    from worker.materialise import content_key  # noqa: PLC0415  # why: the name of a cache entry, which no other test needs

    return content_key((described,))


def test_code_in_the_spec_is_written_as_it_is(dirs: ScriptDirs, materialiser: Materialiser) -> None:
    place_code(script(code={"files": {"train.py": "a\r\nb", "pkg/m.py": "\u00e9"}}), dirs.code, materialiser)
    assert (dirs.code / "train.py").read_bytes() == b"a\r\nb"
    assert (dirs.code / "pkg" / "m.py").read_text() == "\u00e9"


def test_an_archive_is_unpacked_and_a_bad_one_ends_the_attempt(dirs: ScriptDirs, materialiser: Materialiser, tmp_path: Path) -> None:
    good = place_in_cache(materialiser, make_zip(tmp_path / "good", {"train.py": b"1", "pkg/m.py": b"2"}))
    place_code(script(code=good), dirs.code, materialiser)
    assert (dirs.code / "pkg" / "m.py").read_bytes() == b"2"
    bad = place_in_cache(materialiser, make_tar(tmp_path / "bad", {"../train.py": b"1"}))
    with pytest.raises(CannotPrepare, match=r"code: entry '\.\./train\.py'") as caught:
        place_code(script(code=bad), dirs.root / "other", materialiser)
    assert caught.value.reason is Reason.USER_ERROR
    assert not (dirs.root / "other").exists()


def test_a_script_inside_another_folder_is_pointed_out(dirs: ScriptDirs, materialiser: Materialiser, tmp_path: Path) -> None:
    code = place_in_cache(materialiser, make_zip(tmp_path / "a", {"repo-main/train.py": b"1"}))
    with pytest.raises(CannotPrepare, match=r"the code has no train\.py; it has repo-main/train\.py"):
        place_code(script(code=code), dirs.code, materialiser)


def test_a_folder_of_the_node_is_copied_without_its_links(dirs: ScriptDirs, materialiser: Materialiser, tmp_path: Path) -> None:
    source = tmp_path / "roots" / "code"
    (source / ".git").mkdir(parents=True)
    (source / ".git" / "config").write_text("x")
    (source / "train.py").write_text("1")
    (source / "link.py").symlink_to("/etc/passwd")
    place_code(script(code={"path": str(source)}), dirs.code, materialiser)
    assert os.listdir(dirs.code) == ["train.py"]
    with pytest.raises(CannotPrepare, match="data roots"):
        place_code(script(code={"path": "/etc"}), dirs.root / "other", materialiser)


def test_a_requirements_file_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("# packages\n\neinops>=0.8  # tensors\nrich\nrich\n")
    spec = script(code={"files": {"train.py": "", "r.txt": ""}}, requirements="r.txt")
    assert requirements_of(spec, tmp_path) == ("einops>=0.8", "rich")
    (tmp_path / "r.txt").write_text("rich\n-r /etc/passwd\n")
    with pytest.raises(CannotPrepare, match=r"r\.txt, line 2"):
        requirements_of(spec, tmp_path)


def test_hyperparameters_become_flags_as_sagemakers_toolkit_makes_them() -> None:
    values = {"lr": 0.1, "e": 3, "flag": True, "none": None, "name": "a b", "list": [1, 2], "nested": {"b": 1, "a": "x"}}
    flags = ["-e", "3", "--flag", "True", "--list", "[1, 2]", "--lr", "0.1", "--name", "a b", "--nested", "a=x,b=1", "--none", ""]
    assert arguments(script(hyperparameters=values, args=["--last"])) == (*flags, "--last")
    assert [encoded(value) for value in ("a b", None, {"b": [1], "a": True})] == ["a b", "", '{"a":true,"b":[1]}']


def setting(dirs: ScriptDirs, run_dir: RunDir, **changes: Any) -> Setting:
    return Setting(spec=script(**changes), job_id="job_1", dirs=dirs, run_dir=run_dir, device_kind="cpu", num_devices=2)


def test_paths_of_a_container_mean_the_folders_of_the_run(tmp_path: Path) -> None:
    dirs = ScriptDirs(tmp_path / "opt" / "ml")
    given = script(
        hyperparameters={"out": "/opt/ml/model", "base": "/opt/ml", "other": "/opt/mlx", "deep": ["/opt/ml/x"]},
        args=["--to", "/opt/ml/output/data"],
        env={"CHECKPOINTS": "/opt/ml/checkpoints"},
    )
    spec = in_place(given, dirs)
    assert spec.hyperparameters == {"out": str(dirs.model), "base": str(dirs.root), "other": "/opt/mlx", "deep": ["/opt/ml/x"]}
    assert (spec.args, spec.env) == (("--to", str(dirs.output_data)), {"CHECKPOINTS": str(dirs.checkpoints)})


def test_the_contract_names_folders_that_exist(dirs: ScriptDirs, run_dir: RunDir, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1")
    spec = script(hyperparameters={"learning-rate": 0.1, "layers": [1, 2]}, env={"NCCL_DEBUG": "INFO"})
    channels = {"training": tmp_path, "test": tmp_path / "rows.csv"}
    made = Setting(spec=spec, job_id="job_1", dirs=dirs, run_dir=run_dir, device_kind="cpu", num_devices=2, channels=channels)
    write_inputs(made)
    env = environment(made)
    assert (env["SM_HP_LEARNING-RATE"], env["SM_HP_LAYERS"], env["SM_CHANNELS"]) == ("0.1", "[1,2]", '["test","training"]')
    assert Path(env["SM_CHANNEL_TEST"], "rows.csv").read_text() == "1"
    folders = ("SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR", "SM_OUTPUT_DIR", "SM_OUTPUT_INTERMEDIATE_DIR", "SM_INPUT_DIR", "SM_INPUT_CONFIG_DIR")
    for name in (*folders, "SAGEMAKER_BASE_DIR", "AIP_MODEL_DIR", "AIP_CHECKPOINT_DIR", "AIP_TENSORBOARD_LOG_DIR", "SM_CHANNEL_TRAINING"):
        assert Path(env[name]).is_dir(), name
    assert Path(env["SM_MODULE_DIR"]) == dirs.code
    assert json.loads(env["SM_TRAINING_ENV"])["hyperparameters"] == {"learning-rate": 0.1, "layers": [1, 2]}
    assert json.loads((dirs.config / "hyperparameters.json").read_text()) == {"learning-rate": "0.1", "layers": "[1,2]"}
    assert json.loads((dirs.config / "inputdataconfig.json").read_text()).keys() == {"training", "test"}
    assert (env["NCCL_DEBUG"], env["ACCELERATE_USE_CPU"]) == ("INFO", "true")


def test_what_is_new_or_changed_becomes_an_artifact_and_links_do_not(dirs: ScriptDirs, run_dir: RunDir) -> None:
    dirs.code.mkdir()
    for name in ("train.py", "config.json", "__pycache__/x.pyc"):
        (dirs.code / name).parent.mkdir(exist_ok=True)
        (dirs.code / name).write_text("old")
    harvest = Harvest(dirs, run_dir.artifacts)
    harvest.remember()
    (dirs.code / "config.json").write_text("changed by the script")
    (dirs.code / "runs").mkdir()
    (dirs.code / "runs" / "log").write_text("new")
    (dirs.model / "manifest.json").write_text("the script's own")
    (dirs.model / "shadow").symlink_to("/etc/shadow")
    (dirs.model / "etc").symlink_to("/etc")
    (dirs.output_data / "bad\nname").write_text("1")
    os.mkfifo(dirs.output_data / "pipe")
    gathered = harvest.gather()
    assert {file.path for file in read_manifest(run_dir.artifacts).files} == {
        "workdir/config.json",
        "workdir/runs/log",
        "model/manifest.json",
    }
    assert gathered.num_files == 3
    assert sorted(gathered.refused) == ["model/etc", "model/shadow", "output/bad\nname", "output/pipe"]


def test_a_folder_at_rest_becomes_a_checkpoint_once_and_lies_there_again(dirs: ScriptDirs, run_dir: RunDir, tmp_path: Path) -> None:
    keeper = FolderCheckpoints(dirs.root, dirs.checkpoints, run_dir)
    keeper.begin(None)
    weights = dirs.checkpoints / "epoch" / "weights.bin"
    weights.parent.mkdir()
    weights.write_bytes(b"half")
    keeper.look(5)
    keeper.look(5)
    assert not run_dir.complete_checkpoints(), "it was written a moment ago"
    long_ago = time.time() - 60
    os.utime(weights, (long_ago, long_ago))
    keeper.look(5)
    keeper.look(5)
    keeper.look(9)
    assert [path.name for path in run_dir.complete_checkpoints()] == [run_dir.checkpoint(5).name]
    target = tmp_path / "next"
    target.mkdir()
    assert restore(ResumePoint(5, run_dir.checkpoint(5)), target) == target
    assert (target / "epoch" / "weights.bin").read_bytes() == b"half"


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_was_written_a_moment_ago_is_kept_of_a_script_that_left_in_order(dirs: ScriptDirs, run_dir: RunDir, is_whole: bool) -> None:
    keeper = FolderCheckpoints(dirs.root, dirs.checkpoints, run_dir)
    keeper.begin(None)
    (dirs.checkpoints / "last.bin").write_bytes(b"weights")
    keeper.look(7, is_over=True, is_whole=is_whole)
    assert [path.name for path in run_dir.complete_checkpoints()] == [run_dir.checkpoint(7).name] * is_whole


def test_a_script_that_seals_its_own_checkpoints_is_left_alone(dirs: ScriptDirs, run_dir: RunDir) -> None:
    own = run_dir.checkpoint(3)
    own.mkdir()
    (own / "state").write_text("1")
    seal(own, {"kind": "saved", "step": 3})
    keeper = FolderCheckpoints(dirs.root, dirs.checkpoints, run_dir)
    keeper.begin(None)
    (dirs.checkpoints / "x").write_text("1")
    os.utime(dirs.checkpoints / "x", (1, 1))
    keeper.look(9, is_over=True)
    assert run_dir.complete_checkpoints() == [own]
    assert restore(ResumePoint(3, own), dirs.checkpoints) == own


def test_secrets_are_private_files_and_leave_with_the_script(dirs: ScriptDirs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_concealed", set())
    hand_over(script(secrets=["TOKEN"]), {"TOKEN": "correct-horse", "OTHER": "not-this-one"}, dirs.secrets)
    assert {path.name: path.read_text() for path in dirs.secrets.iterdir()} == {"TOKEN": "correct-horse"}
    assert (dirs.secrets.stat().st_mode & 0o777, (dirs.secrets / "TOKEN").stat().st_mode & 0o777) == (0o700, 0o600)
    assert logs.mask("a correct-horse here") == "a *** here"
    take_back(dirs.secrets)
    assert not dirs.secrets.exists()
    with pytest.raises(CannotPrepare, match="the project has no TOKEN"):
        hand_over(script(secrets=["TOKEN"]), {}, dirs.secrets)


def test_printed_secrets_are_masked_byte_for_byte_wherever_a_chunk_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_concealed", set())
    logs.conceal(["correct-horse", "horse-battery"])
    text = b"one correct-horse two horse-battery correct-hors"
    for cut in range(len(text) + 1):
        first = masked(text[:cut], is_whole=False)
        rest = masked(text[len(first) :], is_whole=True)
        assert first + rest == b"one ************* two ************* correct-hors"

"""The Dockerfile without an engine: what it copies exists, what it installs is what the constraints say, and who it runs as."""

import ast
import re
import tomllib

from tests.deploy.compose import ROOT
from tests.house.source import imported, sources

TEXT = (ROOT / "Dockerfile").read_text()
ROOMS_OF = {"api": {"api", "core", "migrations", "trainyard"}, "worker": {"core", "trainer", "trainyard", "worker"}}


def stages() -> dict[str, str]:
    """Each stage's lines by its name."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", TEXT, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def copied(stage: str) -> list[str]:
    """What a stage takes from the build context."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", stages()[stage], re.MULTILINE)
    return [word for line in lines for word in line.split()[:-1]]


def test_everything_that_is_copied_exists_and_is_sent_to_the_engine() -> None:
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for stage in stages():
        for name in copied(stage):
            assert (ROOT / name).exists(), name
            assert name in allowed, name


def test_an_image_holds_the_rooms_that_its_process_imports() -> None:
    for image, rooms in ROOMS_OF.items():
        assert {*copied("build"), *copied(f"build-{image}")} - {"pyproject.toml", "constraints.txt", "README.md"} == rooms
        needed = {name.split(".")[0] for source in sources(*sorted(rooms)) for node in ast.walk(source.tree) for name in imported(node)}
        assert needed & {"api", "core", "migrations", "trainer", "trainyard", "worker"} <= rooms


def test_torch_has_one_version_everywhere() -> None:
    pinned = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    named = set(re.findall(r"torch==([\d.]+)", TEXT)) | set(
        re.findall(r'^TORCH = "(.+)"$', (ROOT / "install.py").read_text(), re.MULTILINE)
    )
    assert pinned == sorted(named)


def test_the_extras_that_are_installed_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name for group in re.findall(r"\.\[([a-z,]+)\]", TEXT) for name in group.split(",")}
    assert named == {"server", "worker"}
    assert named <= extras.keys()


def test_nothing_runs_as_root() -> None:
    assert re.search(r"^USER trainyard$", stages()["run"], re.MULTILINE)
    for image in ROOMS_OF:
        assert f"\nFROM run AS {image}\n" in TEXT
        assert "USER" not in stages()[image]


def test_no_secret_and_no_setting_is_baked_in() -> None:
    assert "TRAINYARD_" not in TEXT
    assert not [line for line in TEXT.splitlines() if re.match(r"(ENV|ARG).*(KEY|TOKEN|PASSWORD|SECRET)", line)]

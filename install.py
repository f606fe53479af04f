"""Makes the environment in .venv and installs Trainyard into it: ``python3 install.py [EXTRA ...]``.

Called by the Makefile. Needs nothing but Python 3.11 or newer. It says what it will download before it does, takes the CPU
build of torch where no NVIDIA device is visible, and does nothing when the environment is already as asked for.
"""

from __future__ import annotations  # an older Python must get as far as saying that it is too old

import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
STAMP = VENV / "trainyard.json"
EXTRAS = ("server", "worker", "embedded", "onnx", "dev")
OLDEST = (3, 11)
NEWER_PYTHONS = ("python3.11", "python3.12", "python3.13")
TORCH = "2.13.0"
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
DEVICE_FILES = ("/dev/nvidiactl", "/proc/driver/nvidia/version")

# Megabytes to download, as measured; told to the user before anything is fetched.
TORCH_MEGABYTES = {"cpu": 190, "cuda": 3000}
REST_MEGABYTES = 200
DEV_MEGABYTES = 65
ONNX_MEGABYTES = 37  # for dev, too


def main(wanted: set[str]) -> int:
    if sys.version_info < OLDEST:
        return run_on_newer_python()
    unknown = wanted - set(EXTRAS)
    if unknown:
        return fail(f"unknown extra {', '.join(sorted(unknown))}; known: {', '.join(EXTRAS)}")
    build = "cuda" if any(Path(file).exists() for file in DEVICE_FILES) else "cpu"
    state = {"inputs": fingerprint(), "torch": build}
    stamp = read_stamp()
    if {**stamp, "extras": None} == {**state, "extras": None} and wanted <= set(stamp["extras"]):
        return 0
    extras = sorted(wanted | set(stamp.get("extras", ())))
    announce(build, extras)
    started = time.monotonic()
    STAMP.unlink(missing_ok=True)
    try:
        make_venv()
        install_torch(build)
        install_the_rest(extras)
    except subprocess.CalledProcessError as error:
        return fail(f"this command failed, its own words are above; run it again once they are dealt with:\n  {' '.join(error.cmd)}")
    STAMP.write_text(json.dumps({**state, "extras": extras}))
    say(f"ready in {time.monotonic() - started:.0f} s")
    return 0


def run_on_newer_python() -> int:
    for name in NEWER_PYTHONS:
        path = shutil.which(name)
        if path and answer_of(path, "--version"):  # a version manager's shim may exist without the version behind it
            return subprocess.run([path, *sys.argv], check=False).returncode
    return fail(
        f"Python 3.11 or newer is needed, and python3 is {sys.version.split()[0]}; with another one: make PYTHON=/path/to/python3.11"
    )


def fingerprint() -> str:
    """Changes when anything that decides what is installed, or for whom, does."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt", "install.py"):
        digest.update((ROOT / name).read_bytes())
    digest.update(str(ROOT).encode())
    return digest.hexdigest()


def read_stamp() -> dict[str, Any]:
    try:
        stamp: dict[str, Any] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if (BIN / "python").exists() else {}


def announce(build: str, extras: list[str]) -> None:
    reason = "an NVIDIA device is visible" if build == "cuda" else "no NVIDIA device is visible"
    rest = REST_MEGABYTES + (DEV_MEGABYTES if "dev" in extras else 0) + (ONNX_MEGABYTES if {"dev", "onnx"} & set(extras) else 0)
    say(f"making {VENV} with Python {sys.version.split()[0]}")
    say("it downloads, as far as pip has not kept it from an earlier time:")
    say(f"  torch {TORCH}, {build} build: about {TORCH_MEGABYTES[build]} MB ({reason})")
    say(f"  everything else: about {rest} MB ({', '.join(extras)})")


def make_venv() -> None:
    if not answer_of(str(BIN / "python"), "-m", "pip", "--version"):
        run(sys.executable, "-m", "venv", "--clear", str(VENV))


def install_torch(build: str) -> None:
    """torch first and alone, so that the other packages find it and nothing else is looked for in its index."""
    present = answer_of(str(BIN / "python"), "-c", "import importlib.metadata as m; print(m.version('torch'))")
    if build == "cuda":  # the package index's own build; it comes with everything else
        if "+cpu" in present:
            pip("uninstall", "--yes", "--quiet", "torch")
        return
    if present.startswith(TORCH):
        return
    try:
        pip("install", "--no-deps", "--index-url", CPU_BUILDS, "--retries", "1", "--timeout", "20", f"torch=={TORCH}+cpu")
    except subprocess.CalledProcessError:
        say(f"the CPU build cannot be had from {CPU_BUILDS}: taking the package index's own build, up to {TORCH_MEGABYTES['cuda']} MB")


def install_the_rest(extras: list[str]) -> None:
    say("installing everything else; a minute or two")
    pip("install", "-qq", "-c", "constraints.txt", "-e", f".[{','.join(extras)}]")


def pip(*arguments: str) -> None:
    run(str(BIN / "python"), "-m", "pip", "--disable-pip-version-check", *arguments)


def run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT)


def answer_of(*command: str) -> str:
    """What the command prints; nothing when it cannot be run or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def say(text: str) -> None:
    print(f"install: {text}", flush=True)


def fail(text: str) -> int:
    print(f"install: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(set(sys.argv[1:]) or {"server", "worker", "embedded"}))

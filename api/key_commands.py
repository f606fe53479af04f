"""``python -m api rotate-master-key|encrypt-stored``: what an operator does to bytes at rest while no server runs, or beside it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from api.sole_server import sole_server
from core.access.rotate import rotate_master_key
from core.artifacts.encrypt_stored import encrypt_stored
from core.artifacts.open_store import open_keys, open_store
from core.artifacts.sealed_store import SealedStore
from core.clock import SystemClock
from core.db.engine import Database
from core.settings import ApiSettings, SettingsError, private_text

LEAST_LENGTH = 32
Result = TypeVar("Result")


def register(commands: Any) -> None:
    rotating = commands.add_parser("rotate-master-key", help="seal all keys and secrets under a new master key; stop the servers first")
    rotating.add_argument("--new-key-file", type=Path, required=True, help="readable by its owner alone")
    rotating.set_defaults(command=rotate)
    encrypting = commands.add_parser("encrypt-stored", help="encrypt what was stored before encryption was switched on")
    encrypting.set_defaults(command=encrypt)


def rotate(settings: ApiSettings, options: argparse.Namespace) -> int:
    """The present key comes from the settings, the new one from a file."""
    if settings.master_key is None:
        raise SettingsError("set TRAINYARD_MASTER_KEY or TRAINYARD_MASTER_KEY_FILE to the present master key")
    new = _new_key(options.new_key_file)
    url = settings.database_url.get_secret_value()
    with sole_server(url):
        rotated = _with_ledger(url, lambda db: _rotate(db, settings, new))
    print(rotated)
    return 0


def encrypt(settings: ApiSettings, options: argparse.Namespace) -> int:
    if not settings.encrypt_at_rest:
        raise SettingsError("set TRAINYARD_ENCRYPT_AT_REST=true first, and restart the servers with it")
    num_encrypted = _with_ledger(settings.database_url.get_secret_value(), lambda db: _encrypt(db, settings))
    print(f"{num_encrypted} objects encrypted")
    return 0


def _rotate(db: Database, settings: ApiSettings, new: str) -> str:
    assert settings.master_key is not None
    with db.begin() as tx:
        done = rotate_master_key(tx, settings.master_key.get_secret_value(), new, SystemClock().now())
    return f"{done.num_projects} project keys and {done.num_secrets} secrets open with the new master key now; the old one opens nothing"


def _encrypt(db: Database, settings: ApiSettings) -> int:
    store = open_store(settings, open_keys(settings, db, SystemClock()))
    assert isinstance(store, SealedStore)
    return encrypt_stored(db, store)


def _with_ledger(url: str, call: Callable[[Database], Result]) -> Result:
    db = Database(url)
    try:
        return call(db)
    finally:
        db.dispose()


def _new_key(path: Path) -> str:
    try:
        new = private_text(path, "--new-key-file")
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if len(new) < LEAST_LENGTH:
        raise SettingsError(f"--new-key-file: a master key has {LEAST_LENGTH} characters at least")
    return new

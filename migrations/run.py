"""Brings a ledger up to date, and says whether it is."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from core.db.engine import Database


def upgrade(url: str, revision: str = "head") -> None:
    """Applies what is missing up to ``revision``, all in one transaction; a second process that does so at once waits for this one."""
    _make_folder(url)
    database = Database(url, pool_size=1)
    try:
        with database.begin() as connection:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        database.dispose()


def is_current(connection: Connection) -> bool:
    """Whether the ledger has the newest revision, and no other."""
    present = MigrationContext.configure(connection).get_current_heads()
    return set(present) == set(ScriptDirectory.from_config(_config()).get_heads())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def _make_folder(url: str) -> None:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)

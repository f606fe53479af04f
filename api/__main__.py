"""``python -m api serve|migrate|create-key|rotate-master-key|encrypt-stored|openapi``: reads the environment once and does one thing."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from api import key_commands
from api.app import create_app
from api.server import make_server
from api.sole_server import AlreadyServed, sole_server
from core.access.keys import any_active_key, create_key
from core.access.project_keys import check_master_key
from core.clock import SystemClock
from core.db.engine import Database
from core.errors import TrainyardError
from core.failpoints import arm
from core.logs import configure_logs
from core.settings import ApiSettings, SettingsError
from core.wire.keys import Scope
from migrations.run import is_current, upgrade

CREATE_KEY = "python -m api create-key --project default --scopes admin --name first"


class Refused(Exception):
    """The command cannot be done; the message says what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused or failed, 2 wrong usage or settings."""
    options = _parser().parse_args(arguments)
    try:
        settings = ApiSettings.from_environment()
        command: Callable[[ApiSettings, argparse.Namespace], int] = options.command
        return command(settings, options)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except (Refused, AlreadyServed, TrainyardError) as error:
        print(f"trainyard api: {error}", file=sys.stderr)
        return 1


def serve(settings: ApiSettings, options: argparse.Namespace) -> int:
    configure_logs(settings.log_level)
    # Uvicorn raises the signal that stopped it once more when everything has ended: then this makes the exit code 0.
    signal.signal(signal.SIGTERM, _leave)
    url = settings.database_url.get_secret_value()
    with sole_server(url):
        if options.migrate:
            upgrade(url)
        _check_ready(settings)
        _arm(settings)
        server = make_server(create_app(settings), settings)
        server.run()
    return 0 if server.started else 1


def migrate(settings: ApiSettings, options: argparse.Namespace) -> int:
    configure_logs(settings.log_level)
    url = settings.database_url.get_secret_value()
    _make_folder(url)
    upgrade(url)
    return 0


def create_first_key(settings: ApiSettings, options: argparse.Namespace) -> int:
    """Prints the secret and nothing else."""
    db = Database(settings.database_url.get_secret_value())
    with db.begin() as tx:
        _require_current(is_current(tx))
        key = create_key(tx, project=options.project, name=options.name, scopes=options.scopes, now=SystemClock().now())
    db.dispose()
    print(key.key)
    return 0


def openapi(settings: ApiSettings, options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(settings.model_copy(update={"data_dir": Path(folder)}))
        print(json.dumps(app.openapi(), indent=2))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api", description="Trainyard's HTTP control plane. Settings: TRAINYARD_* variables.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serving = commands.add_parser("serve", help="serve the API")
    serving.add_argument("--migrate", action="store_true", help="apply pending migrations first")
    serving.set_defaults(command=serve)
    commands.add_parser("migrate", help="bring the ledger's tables up to date").set_defaults(command=migrate)
    making = commands.add_parser("create-key", help="make an API key and print it, once")
    making.add_argument("--project", default="default")
    making.add_argument("--name", required=True)
    making.add_argument("--scopes", type=_scopes, required=True, help=f"comma-separated: {', '.join(Scope)}")
    making.set_defaults(command=create_first_key)
    key_commands.register(commands)
    commands.add_parser("openapi", help="print the OpenAPI document").set_defaults(command=openapi)
    return parser


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _scopes(text: str) -> tuple[Scope, ...]:
    try:
        return tuple(Scope(word.strip()) for word in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; there are {', '.join(Scope)}") from None


def _check_ready(settings: ApiSettings) -> None:
    db = Database(settings.database_url.get_secret_value())
    try:
        with db.read() as tx:
            _require_current(is_current(tx))
        with db.begin() as tx:
            key = settings.master_key.get_secret_value() if settings.master_key else None
            if trouble := check_master_key(tx, key, encrypts=settings.encrypt_at_rest, now=SystemClock().now()):
                raise Refused(trouble)
            if settings.is_public and not any_active_key(tx, SystemClock().now()):
                raise Refused(f"{settings.host} can be reached by others, and there is no API key yet. Make one first: {CREATE_KEY}")
    finally:
        db.dispose()


def _arm(settings: ApiSettings) -> None:
    try:
        arm(settings.failpoint)
    except ValueError as error:
        raise SettingsError(f"TRAINYARD_FAILPOINT: {error}") from None


def _require_current(is_migrated: bool) -> None:
    if not is_migrated:
        raise Refused("the ledger's tables are not up to date: run python -m api migrate (or serve --migrate)")


def _make_folder(url: str) -> None:
    """The folder of a new SQLite file, for its owner alone."""
    with sole_server(url):
        pass


if __name__ == "__main__":
    sys.exit(main())

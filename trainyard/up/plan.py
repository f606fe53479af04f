"""Which processes ``trainyard up`` runs, by which command and with which settings: values, made without starting anything."""

import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from trainyard.up.errors import UpError
from trainyard.up.folder import StateFolder
from trainyard.up.process import Command
from trainyard.up.redis import broker_url, redis_argv

# Settings of a client, and what is decided here: none of these is handed on from the user's environment.
NOT_HANDED_ON = ("TRAINYARD_API_KEY", "TRAINYARD_URL", "TRAINYARD_HOME", "TRAINYARD_WORKER_TOKEN", "TRAINYARD_API_URL")
NEEDED = ("fastapi", "sqlalchemy", "celery", "torch")
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """What the command line says; None leaves the choice to ``TRAINYARD_...`` variables and then to the embedded defaults."""

    home: Path
    host: str = "127.0.0.1"
    port: int = 8000
    cpu_slots: int | None = None
    database_url: str | None = field(default=None, repr=False)
    broker_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    url: str
    redis: Command | None
    redis_socket: Path
    api_variables: Mapping[str, str] = field(repr=False)
    node_variables: Mapping[str, str] = field(repr=False)
    inherited: Mapping[str, str] = field(repr=False)
    folder: StateFolder

    def api(self) -> Command:
        return self._python("api", "-m", "api", "serve", "--migrate", variables=self.api_variables)

    def migrate(self) -> Command:
        return self._python("api", "-m", "api", "migrate", variables=self.api_variables)

    def create_key(self, name: str, scopes: str) -> Command:
        return self._python("api", "-m", "api", "create-key", "--name", name, "--scopes", scopes, variables=self.api_variables)

    def node(self, token: str) -> Command:
        return self._python("node", "-m", "worker", variables={**self.node_variables, "TRAINYARD_WORKER_TOKEN": token})

    def _python(self, name: str, *arguments: str, variables: Mapping[str, str]) -> Command:
        environment = {**self.inherited, **variables}
        return Command(name=name, argv=(sys.executable, *arguments), environment=environment, log=self.folder.log(name))


def make_plan(
    options: UpOptions,
    folder: StateFolder,
    *,
    redis_binary: Path | None,
    runtime: Path,
    inherited: Mapping[str, str],
    settings: Mapping[str, str],
) -> Plan:
    """``settings`` are the user's own ``TRAINYARD_...`` variables; ``port`` is a real one by now."""
    handed_on = {name: value for name, value in settings.items() if name not in NOT_HANDED_ON}
    broker = options.broker_url or settings.get("TRAINYARD_BROKER_URL")
    listen = folder.socket(runtime)
    redis = None
    if broker is None and redis_binary is not None:
        argv = tuple(redis_argv(redis_binary, folder.redis, listen))
        redis = Command(name="redis", argv=argv, environment=inherited, log=folder.log("redis"))
        broker = broker_url(listen)
    url = f"http://{ANY_ADDRESS.get(options.host, options.host)}:{options.port}"
    doorbell = {"TRAINYARD_BROKER_URL": broker} if broker else {}
    api = {
        "TRAINYARD_DATABASE_URL": options.database_url or settings.get("TRAINYARD_DATABASE_URL") or f"sqlite:///{folder.database}",
        "TRAINYARD_DATA_DIR": settings.get("TRAINYARD_DATA_DIR") or str(folder.bytes),
        "TRAINYARD_HOST": options.host,
        "TRAINYARD_PORT": str(options.port),
    }
    node = {"TRAINYARD_API_URL": url, "TRAINYARD_WORK_DIR": settings.get("TRAINYARD_WORK_DIR") or str(folder.node)}
    if options.cpu_slots is not None:
        node["TRAINYARD_CPU_SLOTS"] = str(options.cpu_slots)
    # The node holds no database password.
    for_node = {name: value for name, value in handed_on.items() if name != "TRAINYARD_DATABASE_URL"}
    return Plan(
        url=url,
        redis=redis,
        redis_socket=listen,
        api_variables={**handed_on, **api, **doorbell},
        node_variables={**for_node, **node, **doorbell},
        inherited=inherited,
        folder=folder,
    )


def check_installed(packages: tuple[str, ...] = NEEDED) -> None:
    """UpError when the server's or the node's packages are not here: they come with extras. Imports nothing."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UpError(
            f"the packages of server and node are missing ({', '.join(missing)}): pip install 'trainyard[server,worker,embedded]'"
        )


def choose_port(host: str, port: int) -> int:
    """The port itself when it is free, any free one for 0. UpError when it is taken or the address is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UpError(
                f"cannot serve on {host}:{port}: {error.strerror or error}. Choose another port with --port, or --port 0 for any free one"
            ) from None
        free: int = probe.getsockname()[1]
        return free

"""What ``trainyard up`` decides before it starts anything."""

import os
import socket
from pathlib import Path

import pytest

from trainyard.up.errors import UpError
from trainyard.up.folder import StateFolder, locked
from trainyard.up.plan import Plan, UpOptions, check_installed, choose_port, make_plan

SETTINGS = {
    "TRAINYARD_API_KEY": "ty_clients_secret",
    "TRAINYARD_URL": "http://elsewhere",
    "TRAINYARD_WORKER_TOKEN": "ty_workers_secret",
    "TRAINYARD_LEASE_TTL_SECONDS": "9",
}


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "home")
    folder.prepare()
    return folder


def plan_of(
    folder: StateFolder, *, redis: Path | None = Path("/bin/redis-server"), settings: dict[str, str] | None = None, **options: object
) -> Plan:
    chosen = UpOptions(home=folder.root, **{"port": 8123, **options})  # type: ignore[arg-type]
    return make_plan(chosen, folder, redis_binary=redis, runtime=Path("/tmp"), inherited={"PATH": "/bin"}, settings=settings or {})


def test_the_embedded_defaults_lie_in_the_state_folder(folder: StateFolder) -> None:
    plan = plan_of(folder)
    assert plan.url == "http://127.0.0.1:8123"
    assert plan.api_variables["TRAINYARD_DATABASE_URL"] == f"sqlite:///{folder.root}/trainyard.db"
    assert plan.api_variables["TRAINYARD_DATA_DIR"] == f"{folder.root}/bytes"
    assert plan.node_variables["TRAINYARD_WORK_DIR"] == f"{folder.root}/node"
    assert (
        plan.api_variables["TRAINYARD_BROKER_URL"] == plan.node_variables["TRAINYARD_BROKER_URL"] == f"redis+socket://{plan.redis_socket}"
    )
    assert plan.redis is not None
    assert plan.redis.argv[plan.redis.argv.index("--port") + 1] == "0"


def test_promise_24_no_secret_is_an_argument_or_printed(folder: StateFolder) -> None:
    plan = plan_of(folder, database_url="postgresql+psycopg://u:pass-word@h/d", broker_url="redis://:pass-word@h")
    commands = [plan.api(), plan.migrate(), plan.create_key("first", "admin"), plan.node("ty_workers_secret")]
    for command in commands:
        assert "pass-word" not in " ".join(command.argv)
        assert "secret" not in " ".join(command.argv)
    assert "pass-word" not in repr(plan) + repr(commands)
    assert "ty_workers_secret" not in repr(commands)


def test_the_node_holds_no_database_password_and_nobody_the_clients_key(folder: StateFolder) -> None:
    settings = {**SETTINGS, "TRAINYARD_DATABASE_URL": "postgresql+psycopg://u:pass-word@h/d"}
    plan = plan_of(folder, settings=settings)
    assert plan.api_variables["TRAINYARD_DATABASE_URL"] == settings["TRAINYARD_DATABASE_URL"]
    assert plan.api_variables["TRAINYARD_LEASE_TTL_SECONDS"] == "9"
    node = plan.node("the token").environment
    assert "TRAINYARD_DATABASE_URL" not in node
    assert node["TRAINYARD_WORKER_TOKEN"] == "the token"
    for environment in (plan.api().environment, node):
        assert not {"ty_clients_secret", "ty_workers_secret"} & set(environment.values())


def test_a_broker_of_the_users_own_needs_no_redis_here(folder: StateFolder) -> None:
    plan = plan_of(folder, broker_url="redis://elsewhere")
    assert plan.redis is None
    assert plan.node_variables["TRAINYARD_BROKER_URL"] == "redis://elsewhere"


def test_without_any_redis_the_service_runs_on_polling(folder: StateFolder) -> None:
    plan = plan_of(folder, redis=None)
    assert plan.redis is None
    assert "TRAINYARD_BROKER_URL" not in {**plan.api_variables, **plan.node_variables}


def test_a_bind_to_every_address_is_spoken_to_by_loopback(folder: StateFolder) -> None:
    assert plan_of(folder, host="0.0.0.0").url == "http://127.0.0.1:8123"


def test_a_socket_path_that_would_be_too_long_moves_to_a_short_private_folder(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / ("x" * 120))
    folder.prepare()
    runtime = tmp_path / "r"
    runtime.mkdir()
    found = folder.socket(runtime)
    assert found.parent.parent == runtime
    assert found.parent.stat().st_mode & 0o777 == 0o700
    assert folder.socket(runtime) == found
    found.parent.chmod(0o755)
    with pytest.raises(UpError, match="open to others"):
        folder.socket(runtime)


def test_a_taken_port_is_said_with_the_way_out() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        with pytest.raises(UpError, match="--port 0"):
            choose_port("127.0.0.1", taken)
    assert choose_port("127.0.0.1", 0) > 0


def test_a_folder_has_one_parent_at_a_time(folder: StateFolder) -> None:
    with locked(folder), pytest.raises(UpError, match=f"process {os.getpid()}"), locked(folder):
        pytest.fail("two parents hold one folder")
    with locked(folder):
        pass


def test_secrets_are_written_for_their_owner_alone(folder: StateFolder) -> None:
    folder.write_secret(folder.admin_key, "first")
    folder.write_secret(folder.admin_key, "second")
    assert folder.admin_key.read_text() == "second"
    assert folder.admin_key.stat().st_mode & 0o777 == 0o600
    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.admin_key.parent.iterdir()] == ["admin"]


def test_missing_extras_are_said_before_anything_is_made() -> None:
    check_installed()
    with pytest.raises(UpError, match=r"no_such_package.*trainyard\[server,worker,embedded\]"):
        check_installed(("json", "no_such_package"))

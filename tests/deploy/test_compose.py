"""The compose file without an engine: its own commands, with its own environment, against private real servers.

Only hosts, ports and folders are moved; a scripted job goes from POST to ``succeeded`` through the very processes that
``docker compose up`` would start.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.bed.binaries import find_redis
from tests.bed.census import everyone, touching
from tests.bed.client import ServiceClient
from tests.bed.processes import DidNotStart, Process, free_port
from tests.bed.servers import Servers
from tests.bed.waiting import until
from tests.deploy.compose import ROOT, MissingVariable, Service, moved, raw_text, read

PASSWORDS = {"TRAINYARD_POSTGRES_PASSWORD": "0fPostgres", "TRAINYARD_REDIS_PASSWORD": "0fRedis"}
PRODUCT = ("migrate", "api", "worker-cpu")


class Deployment:
    """The services as processes of this machine."""

    def __init__(self, servers: Servers) -> None:
        self.home = servers.new_folder("compose")
        self.services = read(PASSWORDS)
        self.api_port, self.redis_port = free_port(), free_port()
        self._make_ledger(servers)
        self._redis_folder = find_redis(servers.source).path.parent
        self.moves = {
            "@postgres:5432": f"@127.0.0.1:{servers.postgres.port}",
            "@redis:6379": f"@127.0.0.1:{self.redis_port}",
            "http://api:8000": f"http://127.0.0.1:{self.api_port}",
            "127.0.0.1:8000": f"127.0.0.1:{self.api_port}",
            "0.0.0.0": "127.0.0.1",
            "/var/lib/trainyard": str(self.home),
            "/run/secrets": str(self.home / "secrets"),
        }
        self.started: list[Process] = []

    def run(self, name: str, *command: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """``docker compose run --rm NAME COMMAND``, to its end."""
        argv = self._argv(list(command) or self.services[name].command)
        environment = {**self.environment(self.services[name]), **more}
        return subprocess.run(argv, env=environment, cwd=self.home, capture_output=True, text=True, timeout=90, check=False)

    def up(self, name: str, **more: str) -> Process:
        """``docker compose up NAME``: its own command and environment, left running."""
        service = self.services[name]
        environment = {**self.environment(service), **more}
        process = Process(self._argv(service.command), log=self.home / f"{name}.log", environment=environment, cwd=self.home)
        process.start()
        self.started.append(process)
        return process

    def up_redis(self) -> Process:
        service = self.services["redis"]
        command = [moved(word, {"redis-server -": f"redis-server - --port {self.redis_port}"}) for word in service.command]
        process = Process(command, log=self.home / "redis.log", environment=self.environment(service), cwd=self.home)
        process.start()
        self.started.append(process)
        return process

    def environment(self, service: Service) -> dict[str, str]:
        """The service's variables, moved; of ours only what finds programs and the checkout's code."""
        path = os.pathsep.join([str(Path(sys.executable).parent), str(self._redis_folder), os.environ["PATH"]])
        own = {name: moved(value, self.moves) for name, value in service.environment.items()}
        if "TRAINYARD_PORT" in own:
            own["TRAINYARD_PORT"] = str(self.api_port)
        return {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(self.home), **own}

    def is_healthy(self, name: str, process: Process) -> bool:
        """Runs the service's own health check."""
        if not process.is_running:
            raise DidNotStart(f"{name} ended with {process.exit_code}\n{process.log_tail()}")
        service = self.services[name]
        check = [moved(word, {**self.moves, "redis-cli": f"redis-cli -p {self.redis_port}"}) for word in service.health_check]
        said = subprocess.run(self._argv(check), env=self.environment(service), capture_output=True, timeout=30, check=False)
        return said.returncode == 0

    def close(self) -> None:
        for process in reversed(self.started):
            process.kill9()
        for person in touching(str(self.home), everyone()):
            os.kill(person.pid, signal.SIGKILL)

    def _argv(self, command: list[str]) -> list[str]:
        return [sys.executable if word == "python" else word for word in command]

    def _make_ledger(self, servers: Servers) -> None:
        """What the postgres image does on its first start with these variables."""
        wanted = self.services["postgres"].environment
        user, name = wanted["POSTGRES_USER"], wanted["POSTGRES_DB"]
        servers.postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{wanted['POSTGRES_PASSWORD']}'")
        servers.postgres.execute(f"CREATE DATABASE {name} OWNER {user}")


@pytest.fixture(scope="module")
def deployment(servers: Servers) -> Iterator[Deployment]:
    deployment = Deployment(servers)
    yield deployment
    deployment.close()
    servers.postgres.drop_database("trainyard")
    servers.postgres.execute("DROP ROLE trainyard")


@pytest.mark.timeout(240)
def test_the_commands_of_the_file_bring_up_a_service_that_trains(deployment: Deployment) -> None:
    broker = deployment.up_redis()
    until(lambda: _answers(deployment), within=10, what="Redis asks for the password and answers", explain=broker.log_tail)

    refused = deployment.run("api", TRAINYARD_HOST="0.0.0.0")
    assert refused.returncode == 1
    assert "migrate" in refused.stderr

    migrated = deployment.run("migrate")
    assert migrated.returncode == 0, migrated.stderr
    assert deployment.run("migrate").returncode == 0, "a second migration is a no-op"

    refused = deployment.run("api", TRAINYARD_HOST="0.0.0.0")
    assert (refused.returncode, "create-key" in refused.stderr) == (1, True), refused.stderr

    admin = _key(deployment, "admin", "me")
    secrets = deployment.home / "secrets"
    secrets.mkdir()
    (secrets / "trainyard_worker_token").write_text(_key(deployment, "worker", "node") + "\n")

    api = deployment.up("api")
    until(lambda: deployment.is_healthy("api", api), within=60, what="the API is healthy", explain=api.log_tail, pause=0.2)
    worker = deployment.up("worker-cpu")
    until(lambda: deployment.is_healthy("worker-cpu", worker), within=60, what="the worker is healthy", explain=worker.log_tail, pause=0.5)
    service = ServiceClient(f"http://127.0.0.1:{deployment.api_port}", admin)
    try:
        assert service.http.get("/readyz").status_code == 200
        job = service.submit({"recipe": "scripted", "training": {"steps": 3}, "resources": {"devices_per_node": 2}})
        ended = service.wait_terminal(job, seconds=60)
        assert ended["state"] == "succeeded", f"{service.explain(job)}\n{worker.log_tail()}"
        assert worker.stop(timeout=60) == 0, worker.log_tail()
        api.stop(timeout=30)
        assert "Finished server process" in api.log_tail(), api.log_tail()
    finally:
        service.close()
    for process in (api, worker, broker):
        said = process.log_tail(10_000)
        assert not [secret for secret in (*PASSWORDS.values(), admin) if secret in said]


@pytest.mark.parametrize("name", PASSWORDS)
def test_promise_22_a_password_that_is_not_set_stops_everything(name: str) -> None:
    with pytest.raises(MissingVariable, match=f"{name}: set it in .env"):
        read({**PASSWORDS, name: ""})


def test_promise_24_no_secret_is_written_in_the_file_or_on_a_command_line() -> None:
    services = read(PASSWORDS)
    assert not [secret for secret in PASSWORDS.values() if secret in raw_text()]
    for service in services.values():
        words = " ".join([*service.raw.get("command", []), *service.raw.get("healthcheck", {}).get("test", [])])
        assert not [secret for secret in PASSWORDS.values() if secret in words], service.name
    example = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in example if "PASSWORD" in line and not line.startswith("#")] == [f"{name}=" for name in PASSWORDS]


def test_what_must_outlive_a_container_lies_on_a_named_volume() -> None:
    content = yaml.safe_load(raw_text())
    named = set(content["volumes"])
    mounts = {name: [volume.partition(":")[0] for volume in service.get("volumes", [])] for name, service in content["services"].items()}
    assert {"postgres", "redis", "api", "worker", "worker-cpu"} == {name for name, volumes in mounts.items() if volumes}
    assert {volume for volumes in mounts.values() for volume in volumes} == named
    for name in ("api", "worker"):
        folders = _folders_of(content["services"][name]["environment"])
        targets = [volume.partition(":")[2] for volume in content["services"][name]["volumes"]]
        assert all(any(folder.startswith(target) for target in targets) for folder in folders), (name, folders)


def test_everything_waits_for_what_it_needs_and_says_whether_it_is_well() -> None:
    services = read(PASSWORDS)
    for name, service in services.items():
        for needed, how in service.raw.get("depends_on", {}).items():
            is_one_shot = needed == "migrate"
            assert how["condition"] == ("service_completed_successfully" if is_one_shot else "service_healthy"), (name, needed)
            assert is_one_shot or "healthcheck" in services[needed].raw, needed
    gpu = services["worker"].raw["deploy"]["resources"]["reservations"]["devices"]
    assert gpu == [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    assert services["worker-cpu"].raw["profiles"] == ["cpu"]


def test_only_the_api_is_published_and_on_loopback_unless_told() -> None:
    ports = {name: service.raw["ports"] for name, service in read(PASSWORDS).items() if "ports" in service.raw}
    assert ports == {"api": ["127.0.0.1:8000:8000"]}


def test_services_run_the_images_and_commands_that_the_dockerfile_has() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for name in PRODUCT:
        raw: dict[str, Any] = dict(read(PASSWORDS)[name].raw)
        assert f" AS {raw['build']['target']}\n" in dockerfile
        assert raw["command"][:2] == ["python", "-m"]


def _answers(deployment: Deployment) -> bool:
    """Redis refuses who has no password, and answers who has the file's."""
    with redis.Redis(port=deployment.redis_port, socket_timeout=5) as stranger:
        try:
            stranger.ping()
        except redis.exceptions.AuthenticationError:
            with redis.Redis(port=deployment.redis_port, password=PASSWORDS["TRAINYARD_REDIS_PASSWORD"], socket_timeout=5) as friend:
                return bool(friend.ping())
        except redis.exceptions.ConnectionError:
            return False
    raise AssertionError("Redis answers without a password")


def _key(deployment: Deployment, scopes: str, name: str) -> str:
    """The command of the README, to the letter: ``docker compose run --rm -T migrate COMMAND``."""
    command = f"python -m api create-key --scopes {scopes} --name {name}"
    assert f"docker compose run --rm -T migrate {command}" in (ROOT / "README.md").read_text()
    made = deployment.run("migrate", *command.split())
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def _folders_of(environment: dict[str, str]) -> list[str]:
    return [value for value in environment.values() if value.startswith("/var/lib/")]

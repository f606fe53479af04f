"""Scripts that mean harm: contained to their own job, seen from outside and by what they report themselves."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bed.databases import Databases
from tests.bed.servers import Servers
from tests.bed.stack import Stack
from tests.bed.waiting import until
from tests.e2e import hostile

SECONDS = 120
MAX_PROCESSES = 200
MAX_DISK_BYTES = 256 << 20
REFUSED = {"PermissionError", "FileNotFoundError"}  # what lies in a folder that was closed is not there at all for another user
KEPT_FROM_ALL = "kept from all others"
pytestmark = pytest.mark.timeout(300)


# A worker that is root runs scripts as others; any other fences them among its own processes.
LEVELS = ["confined", "strict"] if os.geteuid() == 0 else ["confined"]
ORDINARY_USER = 72_001


@pytest.fixture(scope="module", params=LEVELS)
def level(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def opened(servers: Servers) -> Path:
    """A data root with a dataset, and beside it a place that scripts may read."""
    folder = servers.new_folder("opened")
    for name in ("data", "models"):
        (folder / name).mkdir()
        (folder / name / "rows.csv").write_text(name)
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def stack(servers: Servers, databases: Databases, level: str, opened: Path) -> Iterator[Stack]:
    node_env = {
        "TRAINYARD_DATA_ROOTS": json.dumps([str(opened / "data")]),
        "TRAINYARD_SCRIPT_READABLE": json.dumps([str(opened / "models")]),
        "TRAINYARD_SCRIPT_USER": "71000",
        "TRAINYARD_SCRIPT_MAX_PROCESSES": str(MAX_PROCESSES),
        "TRAINYARD_SCRIPT_MAX_DISK_BYTES": str(MAX_DISK_BYTES),
    }
    user = ORDINARY_USER if level == "confined" and "strict" in LEVELS else None
    stack = Stack(servers, databases, kind="cluster", node_env=node_env, node_user=user, node_sees=[opened])
    with stack:
        yield stack


def spec(text: str, *, files: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "recipe": "script",
        "code": {"files": {"train.py": text, **(files or {})}},
        "entrypoint": "train.py",
        "launcher": "python",
        "resources": {"devices_per_node": 1, "accelerator": "cpu"},
        **more,
    }


def end_of(stack: Stack, job: str, state: str) -> dict[str, Any]:
    found = stack.wait_terminal(job, seconds=SECONDS)
    assert found["state"] == state, stack.explain(job)
    return found


def succeeded(stack: Stack, wanted: dict[str, Any]) -> str:
    job = stack.submit(wanted)
    end_of(stack, job, "succeeded")
    return job


def report_of(stack: Stack, job: str) -> Any:
    return json.loads(stack.download(job, "workdir/report.json"))


def test_the_level_is_shown_with_what_it_consists_of(stack: Stack, level: str) -> None:
    shown = stack.get("/v1/workers")["data"][0]["isolation"]
    assert shown["level"] == level
    assert any(wall.startswith("landlock") for wall in shown["walls"])
    assert any(wall == "user from 71000" for wall in shown["walls"]) is (level == "strict")


def test_a_script_reads_writes_and_kills_nothing_of_others(stack: Stack, level: str) -> None:
    other = stack.submit(spec(hostile.DEAF, files={"private.txt": KEPT_FROM_ALL}))
    until(lambda: stack.pids("rank", job=other), within=SECONDS, what="the other job runs", explain=stack.logs)
    run_dir = stack.node_dir / "jobs" / other / "a1"
    pids = [stack.pid(part) for part in ("api", "celery", "pad")] + [
        stack.pid(part, job=other) for part in ("supervisor", "keeper", "rank")
    ]
    targets = {
        "files": [str(run_dir / "opt/ml/code/private.txt"), str(run_dir / "spec.json"), str(stack.node_dir / "pad.key"), "/etc/shadow"],
        "folders": [str(run_dir), str(run_dir / "opt/ml/model"), str(stack.node_dir), str(stack.home)],
        "pids": pids,
        "door": str(stack.node_dir / "pad.sock"),
    }
    report = report_of(stack, succeeded(stack, spec(hostile.SPY, files={"targets.json": json.dumps(targets)})))
    stack.post(f"/v1/jobs/{other}/cancel")
    assert stack.wait_terminal(other, seconds=SECONDS)["state"] == "cancelled"
    assert KEPT_FROM_ALL not in json.dumps(report)
    for kind in ("files", "written", "environments", "killed"):
        assert set(report[kind].values()) <= REFUSED, (kind, report[kind])
    if level == "strict":  # among one's own files, names show where modules are looked for
        assert set(report["listed"].values()) <= REFUSED, report["listed"]
    assert "key is wrong" in report["door"] or report["door"] in REFUSED
    assert report["locks"] == "/dev/null"
    assert (71_000 <= report["user"] < 72_000) is (level == "strict")
    assert not list(stack.home.rglob("planted"))


def test_data_and_what_the_operator_opened_can_be_read_and_not_touched(stack: Stack, opened: Path) -> None:
    wanted = spec(hostile.SPOILS_DATA, files={"opened.txt": str(opened / "models")}, dataset={"path": str(opened / "data")})
    assert report_of(stack, succeeded(stack, wanted)) == [["'data'", *["PermissionError"] * 4], ["'models'", *["PermissionError"] * 4]]
    assert sorted(path.name for path in opened.rglob("*")) == ["data", "models", "rows.csv", "rows.csv"]


def test_what_a_killed_supervisor_leaves_is_closed_to_the_next(stack: Stack) -> None:
    first = stack.submit(spec(hostile.DEAF, files={"private.txt": KEPT_FROM_ALL}))
    until(lambda: stack.pids("rank", job=first), within=SECONDS, what="it runs", explain=stack.logs)
    stack.kill("supervisor", job=first)
    stack.post(f"/v1/jobs/{first}/cancel")
    assert stack.wait_terminal(first, seconds=SECONDS)["state"] == "cancelled"
    stack.expect_no_survivors(first, seconds=10)
    left = stack.node_dir / "jobs" / first / "a1" / "opt" / "ml" / "code"
    targets = {"files": [str(left / "private.txt")], "folders": [str(left)], "pids": [], "door": "/nowhere"}
    report = report_of(stack, succeeded(stack, spec(hostile.SPY, files={"targets.json": json.dumps(targets)})))
    assert set(report["files"].values()) <= REFUSED
    assert set(report["written"].values()) <= REFUSED
    assert KEPT_FROM_ALL not in json.dumps(report)


def test_what_a_script_leaves_is_closed_to_the_next(stack: Stack) -> None:
    first = succeeded(stack, spec("import pathlib; pathlib.Path('private.txt').write_text('x'); print('done')"))
    left = stack.node_dir / "jobs" / first / "a1" / "opt" / "ml" / "code"
    targets = {"files": [str(left / "train.py")], "folders": [str(left)], "pids": [], "door": "/nowhere"}
    report = report_of(stack, succeeded(stack, spec(hostile.SPY, files={"targets.json": json.dumps(targets)})))
    assert set(report["files"].values()) <= REFUSED
    assert set(report["written"].values()) <= REFUSED


def test_a_fork_bomb_goes_off_in_its_own_job(stack: Stack) -> None:
    job = stack.submit(spec(hostile.FORK_BOMB))

    def num_processes() -> int:
        return len({person.pid for person in stack.survivors(job)})

    until(lambda: num_processes() > MAX_PROCESSES // 2, within=SECONDS, what="it has gone off", explain=stack.logs)
    assert num_processes() <= MAX_PROCESSES + 20  # the supervisor, the keeper and the launcher's own among them
    assert stack.job(succeeded(stack, spec("print('beside it')")))["state"] == "succeeded"
    stack.post(f"/v1/jobs/{job}/cancel")
    assert stack.wait_terminal(job, seconds=SECONDS)["state"] == "cancelled"
    stack.expect_no_survivors(job, seconds=10)


def test_threads_are_counted_too(stack: Stack) -> None:
    job = stack.submit(spec(hostile.THREADS))
    assert "start new thread" in end_of(stack, job, "failed")["failure"]["message"]


@pytest.mark.parametrize("text", [hostile.FILL, hostile.FLOOD], ids=["files", "log"])
def test_a_disk_that_is_being_filled_ends_the_job_with_the_limit_in_words(stack: Stack, text: str) -> None:
    job = stack.submit(spec(text))
    failure = end_of(stack, job, "failed")["failure"]
    assert failure["reason"] == "limit", failure
    assert "this worker grants a script 0.25 GiB" in failure["message"]
    stack.expect_no_survivors(job, seconds=10)


def test_no_file_grows_beyond_what_a_script_is_granted(stack: Stack) -> None:
    assert report_of(stack, succeeded(stack, spec(hostile.SPARSE))) == "File too large"


def test_a_daemon_ends_with_its_job(stack: Stack) -> None:
    job = succeeded(stack, spec(hostile.DAEMON))
    stack.expect_no_survivors(job, seconds=10)


def test_a_deaf_script_is_killed_when_its_grace_is_over(stack: Stack) -> None:
    job = stack.submit(spec(hostile.DEAF))
    until(lambda: stack.pids("rank", job=job), within=SECONDS, what="it runs", explain=stack.logs)
    stack.post(f"/v1/jobs/{job}/cancel")
    assert stack.wait_terminal(job, seconds=SECONDS)["state"] == "cancelled"
    stack.expect_no_survivors(job, seconds=10)


def test_links_do_not_make_the_service_read_for_the_script(stack: Stack, level: str) -> None:
    target = stack.home / "of-the-service.txt"
    target.write_text(f"{KEPT_FROM_ALL}\n" * 20)
    target.chmod(0o600)
    job = stack.submit(spec(hostile.LINKS, files={"target.txt": str(target)}))
    failure = end_of(stack, job, "failed")["failure"]
    assert KEPT_FROM_ALL not in json.dumps(failure)
    for artifact in stack.artifacts(job):
        assert KEPT_FROM_ALL.encode() not in stack.download(job, artifact["path"])
    assert target.read_text().startswith(KEPT_FROM_ALL)
    assert stack.get(f"/v1/jobs/{job}/metrics")["series"] == []
    assert KEPT_FROM_ALL not in stack.get(f"/v1/jobs/{job}/logs")["text"]


def test_strict_isolation_is_granted_where_it_is_offered_and_refused_elsewhere(stack: Stack, level: str) -> None:
    wanted = spec("print('alone')", isolation="strict")
    if level == "strict":
        succeeded(stack, wanted)
        return
    refused = stack.http.post("/v1/jobs", json=wanted)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/isolation"

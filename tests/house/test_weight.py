"""House rules about what a process loads: the API never torch, the client never the server's libraries."""

import subprocess
import sys

import pytest

from tests.house.source import ROOT

HEAVY_FOR_THE_API = {"torch", "numpy", "sklearn", "worker", "trainer"}
HEAVY_FOR_A_CLIENT = {"torch", "numpy", "sklearn", "sqlalchemy", "fastapi", "celery", "worker", "trainer", "api"}
HEAVY_FOR_A_FIRST_STEP = {"sklearn", "scipy", "fastapi", "sqlalchemy", "celery"}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("api.app", HEAVY_FOR_THE_API),
        ("api.__main__", HEAVY_FOR_THE_API),
        ("trainyard", HEAVY_FOR_A_CLIENT),
        ("trainyard.cli", HEAVY_FOR_A_CLIENT),
        ("worker.tasks", {"torch", "sqlalchemy", "fastapi", "trainer", "api"}),
        ("worker.supervisor", {"torch", "sqlalchemy", "fastapi", "trainer", "api"}),
        ("trainer.main", HEAVY_FOR_A_FIRST_STEP),
    ],
)
def test_a_process_loads_only_what_it_needs(module: str, heavy: set[str]) -> None:
    program = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert sorted(set(said.stdout.split()) & heavy) == []

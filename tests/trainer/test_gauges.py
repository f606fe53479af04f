"""What a run tells about itself."""

from pathlib import Path

import pytest
import torch

from core.recipes.sections.training import TrainingKnobs
from tests.trainer.programs.learning import run_of
from tests.trainer.programs.resuming import Remembering
from trainer.gauges import COLUMNS, Gauges, peak_of
from trainer.parallel import Ranks


@pytest.fixture
def gauges(tmp_path: Path) -> Gauges:
    run = run_of(Ranks(rank=0, world_size=1, device=torch.device("cpu")), tmp_path)
    return Gauges(run, Remembering(run, TrainingKnobs(), stop_after=None, norms=False))


def test_waiting_is_a_share_of_the_time_since_the_last_reading(gauges: Gauges) -> None:
    gauges.read(1.0)
    with gauges.waiting_for_data():
        torch.randn(400, 400) @ torch.randn(400, 400)
    assert 0.5 < gauges.read(1.0)["data_wait_share"] <= 1
    assert gauges.read(1.0)["data_wait_share"] == 0


def test_memory_is_what_the_process_holds_and_a_stall_is_told_once(gauges: Gauges) -> None:
    gauges.checkpoint_stall_seconds = 0.25
    first, second = gauges.read(1.0), gauges.read(1.0)

    assert first["checkpoint_stall_seconds"] == 0.25
    assert "checkpoint_stall_seconds" not in second
    assert 50e6 < first["memory_bytes"] < 50e9
    assert "mfu" not in first, "nobody knows the peak of a CPU"


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("Tesla T4", 65e12),
        ("a card of tomorrow", None),
    ],
)
def test_the_peak_goes_by_the_name_of_the_card(name: str, peak: float | None) -> None:
    assert peak_of(name, COLUMNS["bf16"]) == peak

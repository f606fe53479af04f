"""``trainyard project``: how long things are kept, changed and told, and what a command says of what is gone."""

from datetime import timedelta
from pathlib import Path

from core.retention.apply import apply_retention
from tests.api.serving import Served
from tests.api.shipping import Shipper
from tests.client.conftest import Terminal


def test_a_policy_is_shown_and_changed(trainyard: Terminal) -> None:
    assert trainyard("project", "show").splitlines() == [
        "project default",
        "  artifacts: forever",
        "  checkpoints: forever",
        "  logs: forever",
        "  datasets: forever",
    ]
    assert "  logs: 30 days" in trainyard("project", "retain", "--logs", "30", "--datasets", "90")
    changed = trainyard.json("project", "retain", "--logs", "forever", "--artifacts", "7")["retention"]
    assert [changed[f"{kind}_days"] for kind in ("artifacts", "checkpoints", "logs", "datasets")] == [7, None, None, 90]


def test_what_makes_no_sense_is_said_before_anything_changes(trainyard: Terminal) -> None:
    assert "--logs 30" in trainyard.complaint("project", "retain", code=2)
    assert "'soon'" in trainyard.complaint("project", "retain", "--logs", "soon", code=2)
    assert "logs_days" in trainyard.complaint("project", "retain", "--logs", "0", code=2)
    assert trainyard.json("project", "show")["retention"]["logs_days"] is None
    assert trainyard("project", "removals").strip() == "nothing was removed"


def test_a_download_of_what_is_gone_says_when_and_why(trainyard: Terminal, served: Served, tmp_path: Path) -> None:
    shipper = Shipper(served)
    shipper.hand_over(files={"model.bin": b"weights"})
    shipper.finish()
    trainyard("project", "retain", "--artifacts", "1")
    assert apply_retention(served.state.db, now=served.state.clock.now() + timedelta(days=2)) == 1
    told = trainyard.complaint("download", shipper.job_id, str(tmp_path / "into"), code=4)
    assert "artifacts_days=1" in told
    assert shipper.job_id in trainyard("project", "removals")
    assert [item["num_bytes"] for item in trainyard.json("project", "removals")] == [7]

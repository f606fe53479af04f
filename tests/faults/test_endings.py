"""Every ending that the scripted recipe knows, from POST to the failure that a user reads."""

from typing import Any

import pytest

from tests.bed.stack import Stack


def scripted(ending: str, **training: Any) -> dict[str, Any]:
    return {
        "recipe": "scripted",
        "training": {"ending": ending, "steps": 8, "at_step": 3, "rank": 1, "step_seconds": 0.02, **training},
        "resources": {"devices_per_node": 2, "accelerator": "cpu"},
        "checkpoints": {"every_steps": 2},
    }


@pytest.mark.parametrize(
    ("ending", "reason", "exit_code"),
    [
        ("raise", "user_error", None),
        ("exit", "user_error", 17),
        ("segfault", "user_error", -11),
        ("out_of_memory", "out_of_memory", None),
        ("nan", "numeric", None),
        ("invalid_data", "invalid_data", None),
    ],
)
def test_promise_13_a_failure_of_the_users_own_names_reason_rank_and_evidence(
    embedded: Stack, ending: str, reason: str, exit_code: int | None
) -> None:
    job = embedded.submit(scripted(ending))
    state = embedded.wait_terminal(job)
    assert (state["state"], state["reason"], state["num_attempts"]) == ("failed", reason, 1), embedded.explain(job)
    assert state["failure"]["message"]
    if ending != "nan":
        assert state["failure"]["rank"] == 1
    if exit_code is not None:
        assert state["failure"]["exit_code"] == exit_code


@pytest.mark.parametrize("ending", ["kill", "no_result"])
def test_promise_13_a_failure_of_the_node_is_tried_again_without_asking(embedded: Stack, ending: str) -> None:
    job = embedded.submit(scripted(ending, only_attempts=[1]))
    state = embedded.wait_terminal(job)
    assert (state["state"], state["num_attempts"]) == ("succeeded", 2), embedded.explain(job)
    assert embedded.attempts(job)[1]["reason"] in {"rank_died", "protocol"}


def test_promise_13_failures_without_progress_end(embedded: Stack) -> None:
    job = embedded.submit({**scripted("kill", at_step=0), "checkpoints": {"every_steps": 100}})
    state = embedded.wait_terminal(job, seconds=90)
    assert (state["state"], state["reason"], state["num_attempts"]) == ("failed", "rank_died", 4), embedded.explain(job)


def test_promise_14_a_hung_rank_is_found_its_stacks_are_kept_and_the_job_goes_on(embedded: Stack) -> None:
    job = embedded.submit({**scripted("hang", only_attempts=[1]), "stall_timeout_seconds": 3})
    state = embedded.wait_terminal(job, seconds=90)
    assert (state["state"], state["num_attempts"]) == ("succeeded", 2), embedded.explain(job)
    hung = embedded.attempts(job)[1]
    assert hung["reason"] == "hang"
    kept = [item["path"] for item in embedded.get(f"/v1/jobs/{job}/artifacts?attempt=1")["data"]]
    assert any(path.startswith("stacks") for path in kept), kept


def test_promise_07_a_run_that_ignores_every_signal_is_killed(embedded: Stack) -> None:
    job = embedded.submit(scripted("never", ignore_sigterm=True))
    embedded.wait_for_step(job, 2)
    embedded.post(f"/v1/jobs/{job}/cancel")
    state = embedded.wait_terminal(job, seconds=60)
    assert state["state"] == "cancelled"
    assert embedded.attempts(job)[0]["forced"] is True
    embedded.expect_no_survivors(job, seconds=10)

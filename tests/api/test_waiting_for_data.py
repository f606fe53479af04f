"""A job that is submitted right after its dataset: accepted, told why it waits, and woken or failed by the verdict."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.pushing import Pusher
from tests.api.serving import Client, Json, Served
from tests.bed.waiting import until

TRAIN = {"recipe": "image-classification", "dataset": "birds"}


@pytest.fixture
def pusher(served_on_each: Served) -> Pusher:
    pusher = Pusher(served_on_each)
    pusher.create()
    pusher.add({"cat/1.png": b"one"})
    return pusher


def submit(http: Client, **changes: object) -> Json:
    answer = http.post("/v1/jobs", json={**TRAIN, **changes})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_job_follows_its_dataset_into_work(pusher: Pusher, served_on_each: Served) -> None:
    validation = pusher.version(1)["job_id"]
    waits = f"the dataset birds@1, which {validation} validates"
    report = pusher.http.post("/v1/jobs/validate", json=TRAIN)
    assert (report.status_code, report.json()["waiting_for"]) == (200, waits)
    job = submit(pusher.http)
    assert (job["state"], job["waiting_for"], job["spec"]["dataset"]["version"]) == ("queued", waits, 1)
    assert job["waiting_for"] == pusher.http.get("/v1/jobs", params={"state": "queued"}).json()["data"][0]["waiting_for"]
    assert pusher.validate()["job_id"] == validation
    node = served_on_each.node()
    claim = node.claim(node.register())
    assert claim is not None
    assert claim["job_id"] == job["id"]


def test_whoever_waits_for_the_job_hears_at_once_that_its_data_is_invalid(pusher: Pusher, served_on_each: Served) -> None:
    job = submit(pusher.http)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: (pusher.http.get(f"/v1/jobs/{job['id']}", params={"wait": 30}).json(), time.monotonic()))
        until(lambda: job["id"] in served_on_each.state.live.watched(), within=10, what="the long-poll waits")
        pusher.validate(valid=False)
        answered = time.monotonic()
        failed, heard = waiting.result(timeout=30)
    assert heard - answered < 1
    assert (failed["state"], failed["reason"], failed["waiting_for"]) == ("failed", "invalid_data", None)
    where = "/v1/datasets/birds/versions/1/report"
    assert failed["failure"]["message"] == f"the dataset birds@1 is invalid: not valid, see the profile (report: {where})"
    assert pusher.http.get(where).text == "<p>fine</p>"


def test_a_preparation_that_is_cancelled_takes_those_along_who_wait_for_it(pusher: Pusher) -> None:
    pusher.validate()
    steps = {"steps": [{"do": "drop_duplicates"}], "version": 1}
    made = pusher.http.post("/v1/datasets/birds/prepare", json=steps).json()
    job = submit(pusher.http, dataset="birds@2")
    assert job["waiting_for"] == f"the dataset birds@2, which {made['job_id']} prepares"
    pusher.http.post(f"/v1/jobs/{made['job_id']}/cancel")
    failed = pusher.http.get(f"/v1/jobs/{job['id']}", params={"wait": 20}).json()
    assert failed["failure"]["message"] == "the dataset birds@2 is invalid: its preparation was cancelled"


def test_a_dry_run_of_a_preparation_does_not_wait_for_what_it_is_to_mend(pusher: Pusher) -> None:
    pusher.validate(valid=False)
    spec = {"recipe": "dataset-preparation", "dataset": "birds@1", "data": {"steps": [{"do": "drop_duplicates"}]}}
    answer = pusher.http.post("/v1/jobs/validate", json=spec)
    assert answer.status_code == 200, answer.text
    assert "worker" in answer.json()["waiting_for"]


def test_files_that_nobody_has_closed_are_waited_for_by_nobody(pusher: Pusher) -> None:
    pusher.put("a.png")
    refused = pusher.http.post("/v1/jobs", json={**TRAIN, "dataset": "birds@2"})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "not_ready")
    assert "uploading" in refused.json()["detail"]

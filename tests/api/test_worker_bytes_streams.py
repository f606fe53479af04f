"""Metrics and output as readers see them: pages, and live streams that resume without a gap or a repeat."""

from pathlib import Path
from typing import Any

import pytest

from tests.api.serving import Json, Served
from tests.api.shipping import STREAM, Shipper, events_of
from tests.bed.waiting import until


@pytest.fixture
def shipper(served_on_each: Served) -> Shipper:
    return Shipper(served_on_each)


def points(seq: int, steps: range, **others: Any) -> Json:
    series = {"loss": {"steps": list(steps), "values": [float(step) for step in steps], "times": [1.0] * len(steps)}}
    return {"seq": seq, "series": series, **others}


def test_metrics_are_thinned_on_the_way_out(shipper: Shipper) -> None:
    for seq in range(5):
        assert shipper.post("metrics", **points(seq + 1, range(seq * 1000, seq * 1000 + 1000))).status_code == 204
    (series,) = shipper.get("metrics", params={"name": "loss", "max_points": 50}).json()["series"]
    assert (series["num_points"], series["minimum"], series["maximum"], series["last"]) == (5000, 0.0, 4999.0, 4999.0)
    assert len(series["steps"]) <= 50
    assert shipper.get("metrics", params={"name": "other"}).json()["series"] == []
    assert shipper.get("metrics", params={"attempt": 1}).json()["attempt"] == 1
    assert shipper.get("metrics", params={"attempt": 2}).status_code == 404
    for wrong in ({"max_points": 1}, {"max_points": 10_001}, {"attempt": 0}):
        assert shipper.get("metrics", params=wrong).status_code == 422


def test_a_batch_shows_on_the_job(shipper: Shipper) -> None:
    shipper.post("start", launched="cold")
    etag = shipper.admin.get(f"/v1/jobs/{shipper.job_id}").headers["etag"]
    shipper.post("metrics", **points(1, range(3), progress={"phase": "training", "step": 2, "total_steps": 10}))
    answer = shipper.admin.get(f"/v1/jobs/{shipper.job_id}", headers={"If-None-Match": etag})
    assert answer.status_code == 200
    assert (answer.json()["metrics"], answer.json()["progress"]["step"], answer.json()["phase"]) == ({"loss": 2.0}, 2, "training")


def test_promise_16_a_metric_stream_resumes_where_it_broke(shipper: Shipper) -> None:
    url = f"/v1/jobs/{shipper.job_id}/metrics"
    shipper.post("metrics", **points(1, range(10)))
    with shipper.admin.stream("GET", url, headers=STREAM) as answer:
        found = events_of(answer.iter_lines())
        first_id, name, series = next(found)
        assert (name, series["series"][0]["steps"]) == ("series", list(range(10)))
        shipper.post("metrics", **points(2, range(10, 12)))
        second_id, name, news = next(found)
        assert (name, news["series"]["loss"]["steps"]) == ("points", [10, 11])
    for seq in range(3, 40):  # merged into other blocks meanwhile
        shipper.post("metrics", **points(seq, range(seq * 4, seq * 4 + 4)))
    shipper.finish()
    for place, expected in ((first_id, [10, 11, *range(12, 160)]), (second_id, list(range(12, 160)))):
        with shipper.admin.stream("GET", url, headers={**STREAM, "Last-Event-ID": place}) as answer:
            events = list(events_of(answer.iter_lines()))
        seen = [step for _, name, data in events if name == "points" for step in data["series"]["loss"]["steps"]]
        assert seen == expected
        assert events[-1][1] == "end"
    assert shipper.admin.get(url, headers={**STREAM, "Last-Event-ID": events[-1][0]}).status_code == 204
    assert shipper.admin.get(url, headers={**STREAM, "Last-Event-ID": "x"}).status_code == 422
    assert shipper.admin.get("/v1/jobs/job_x/metrics", headers=STREAM).status_code == 404


def test_output_is_read_in_pages(shipper: Shipper) -> None:
    text = "step 1 ü\n" * 1000
    shipper.put_log(0, text.encode())
    seen, offset = "", 0
    while True:
        page = shipper.get("logs", params={"offset": offset, "limit": 999}).json()
        seen, offset = seen + page["text"], page["next_offset"]
        if page["next_offset"] == page["offset"]:
            break
    assert seen == text
    assert page["is_complete"] is False
    assert page["streams"] == [
        {"attempt": 1, "rank": 0, "stream": "stdout", "size": len(text.encode()), "is_truncated": False, "is_closed": False}
    ]
    shipper.finish()
    until(lambda: shipper.get("logs", params={"offset": offset}).json()["is_complete"], within=10)
    for wrong in ({"limit": 3}, {"limit": 2**30}, {"offset": -1}, {"stream": "both"}, {"rank": -1}):
        assert shipper.get("logs", params=wrong).status_code == 422
    assert shipper.get("logs", params={"attempt": 9}).status_code == 404


def test_output_reads_the_same_after_it_was_compacted(shipper: Shipper, tmp_path: Path) -> None:
    shipper.put_log(0, b"one\n")
    shipper.put_log(0, b"two\n", rank=1, stream="stderr")
    shipper.finish()
    until(lambda: all(stream["is_closed"] for stream in shipper.get("logs").json()["streams"]), within=10)
    objects = tmp_path / "bytes" / "sha256"
    until(lambda: len(list(objects.glob("??/??/*"))) == 2, within=10, what="maintenance compacts both streams")
    page = shipper.get("logs", params={"rank": 1, "stream": "stderr"}).json()
    assert (page["text"], page["is_complete"]) == ("two\n", True)


def test_a_job_that_was_never_claimed_has_no_output(served_on_each: Served) -> None:
    admin = served_on_each.client()
    job_id = admin.submit()
    page = admin.get(f"/v1/jobs/{job_id}/logs").json()
    assert (page["attempt"], page["text"], page["is_complete"]) == (0, "", False)
    admin.post(f"/v1/jobs/{job_id}/cancel")
    assert admin.get(f"/v1/jobs/{job_id}/logs").json()["is_complete"] is True
    with admin.stream("GET", f"/v1/jobs/{job_id}/logs", headers=STREAM) as answer:
        assert [name for _, name, _ in events_of(answer.iter_lines())] == ["end"]


def test_promise_16_a_followed_job_prints_every_byte_once_over_its_attempts(served_on_each: Served, shipper: Shipper) -> None:
    url = f"/v1/jobs/{shipper.job_id}/logs"
    shipper.put_log(0, b"first\n")
    with shipper.admin.stream("GET", url, headers=STREAM) as answer:
        found = events_of(answer.iter_lines())
        assert next(found)[1:] == ("attempt", {"attempt": 1})
        place, name, page = next(found)
        assert (name, page["text"], page["rank"], page["stream"]) == ("log", "first\n", 0, "stdout")
        shipper.put_log(0, b"warning \xe2\x82", stream="stderr")
        assert next(found)[2]["text"] == "warning "
        shipper.put_log(10, b"\xac\n", stream="stderr")
        place, name, page = next(found)
        assert (page["text"], page["offset"]) == ("€\n", 8)
    shipper.put_log(6, b"missed\n")
    shipper.finish("rank_died")
    until(lambda: shipper.admin.job(shipper.job_id)["state"] == "queued", within=5)
    with shipper.admin.stream("GET", url, headers={**STREAM, "Last-Event-ID": place}) as answer:
        found = events_of(answer.iter_lines())
        assert next(found)[2]["text"] == "missed\n"
        second = until(lambda: shipper.node.claim(shipper.node.register(f"node-{shipper.job_id}")), within=20, what="the retry falls due")
        assert next(found)[1:] == ("attempt", {"attempt": 2})
        lease = {"Authorization": f"Bearer {second['lease_token']}"}
        attempt = f"/v1/worker/attempts/{second['attempt_id']}"
        shipper.http.put(f"{attempt}/logs/0/stdout", params={"offset": 0}, content=b"again\n", headers=lease)
        place, name, page = next(found)
        assert (page["text"], page["attempt"]) == ("again\n", 2)
        shipper.http.post(f"{attempt}/finish", json={"reason": "completed"}, headers=lease)
        assert next(found)[1] == "end"
        assert list(found) == []
    assert shipper.admin.get(url, headers={**STREAM, "Last-Event-ID": place}).status_code == 204
    with shipper.admin.stream("GET", f"{url}?attempt=1&rank=0&stream=stdout", headers=STREAM) as answer:
        events = list(events_of(answer.iter_lines()))
    assert [data.get("text") for _, name, data in events if name == "log"] == ["first\nmissed\n", "again\n"]
    assert shipper.admin.get(url, headers={**STREAM, "Last-Event-ID": "nonsense"}).status_code == 422

"""Metric points in the ledger, on both databases."""

import random
from math import inf, nan

import pytest
from sqlalchemy import func, select, text

from core.db.engine import Database
from core.db.tables import attempts, jobs, metric_blocks
from core.errors import InvalidInput, LeaseLost, NotFound
from core.jobs.leases import fence
from core.metrics.append import OPEN_BLOCKS, append
from core.metrics.live import MAX_BACKLOG, Place, points_after, present_place
from core.metrics.pack import CLOSED, FULL
from core.metrics.read import job_metrics
from core.wire.jobs import JobMetrics, Progress
from core.wire.worker import MetricsRequest, SeriesPoints
from tests.ledger.leased import NOW, Leased, end, leased, new_attempt

Series = dict[str, list[tuple[int, float | None]]]


def batch(seq: int, series: Series, **others: object) -> MetricsRequest:
    columns = {
        name: SeriesPoints(
            steps=[step for step, _ in points], values=[value for _, value in points], times=[1.5 + step for step, _ in points]
        )
        for name, points in series.items()
    }
    return MetricsRequest(seq=seq, series=columns, **others)


def send(db: Database, lease: Leased, seq: int, series: Series, **others: object) -> None:
    with db.begin() as tx:
        append(tx, fence(tx, lease.attempt_id, lease.token), batch(seq, series, **others), NOW)


def read(db: Database, lease: Leased, **asked: object) -> JobMetrics:
    with db.snapshot() as tx:
        return job_metrics(tx, lease.project_id, lease.job_id, **asked)


def steps_of(metrics: JobMetrics, name: str = "loss") -> list[int]:
    return next(series.steps for series in metrics.series if series.name == name)


def test_points_come_back_as_they_went_in(db: Database) -> None:
    lease = leased(db)
    send(db, lease, 1, {"loss": [(0, 2.0), (1, None), (2, inf)], "accuracy": [(2, 0.5)]})
    send(db, lease, 2, {"loss": [(3, 1.0)]})
    metrics = read(db, lease)
    accuracy, loss = metrics.series
    assert (accuracy.name, accuracy.steps, accuracy.values, accuracy.last) == ("accuracy", [2], [0.5], 0.5)
    assert (loss.steps, loss.values, loss.times) == ([0, 1, 2, 3], [2.0, None, None, 1.0], [1.5, 2.5, 3.5, 4.5])
    assert (loss.num_points, loss.minimum, loss.maximum, loss.last) == (4, 1.0, 2.0, 1.0)
    assert "NaN" not in metrics.model_dump_json()


def test_a_batch_that_is_sent_again_is_a_no_op(db: Database) -> None:
    lease = leased(db)
    for _ in range(3):
        send(db, lease, 1, {"loss": [(0, 2.0)]})
    send(db, lease, 3, {"loss": [(1, 1.0)]})
    send(db, lease, 2, {"loss": [(9, 9.0)]})  # overtaken: it was dropped, not lost, for a shipper sends in order
    assert steps_of(read(db, lease)) == [0, 1]


def test_promise_02_a_stale_lease_adds_no_point(db: Database) -> None:
    lease = leased(db)
    send(db, lease, 1, {"loss": [(0, 2.0)]})
    with pytest.raises(LeaseLost):
        send(db, Leased(lease.project_id, lease.job_id, lease.attempt_id, "lease_forged", 1), 2, {"loss": [(1, 1.0)]})
    end(db, lease)
    with pytest.raises(LeaseLost):
        send(db, lease, 2, {"loss": [(1, 1.0)]})
    assert steps_of(read(db, lease)) == [0]


def test_small_batches_are_merged_and_no_point_moves(db: Database) -> None:
    lease = leased(db)
    sent: list[tuple[int, float]] = []
    rng = random.Random(7)
    for seq in range(1, 200):
        size = rng.choice([1, 1, 3, 40, 700])
        points = [(len(sent) + index, rng.random()) for index in range(size)]
        sent += points
        send(db, lease, seq, {"loss": [*points], "rare": [(seq, 1.0)] if seq % 50 == 0 else []})
    with db.read() as tx:
        sizes = tx.scalars(select(metric_blocks.c.num_points).where(metric_blocks.c.name == "loss").order_by(metric_blocks.c.id)).all()
    assert sum(sizes) == len(sent)
    assert max(sizes) <= FULL
    assert len(sizes) <= len(sent) / 512 + 18  # full ones, and the newest batches
    metrics = read(db, lease, max_points=100_000)
    assert steps_of(metrics) == [step for step, _ in sent]
    assert metrics.series[0].values == [value for _, value in sent]
    assert steps_of(metrics, "rare") == [50, 100, 150]


def test_a_batch_larger_than_a_block_is_split(db: Database) -> None:
    lease = leased(db)
    send(db, lease, 1, {"loss": [(step, float(step)) for step in range(2500)]})
    with db.read() as tx:
        assert tx.scalars(select(metric_blocks.c.num_points).order_by(metric_blocks.c.id)).all() == [1024, 1024, 452]


def test_a_resumed_job_is_one_series_in_which_later_attempts_win(db: Database) -> None:
    first = leased(db)
    send(db, first, 1, {"loss": [(step, 1.0) for step in range(100)], "only_first": [(5, 1.0)]})
    end(db, first)
    second = new_attempt(db, first.project_id, first.job_id, 2)
    send(db, second, 1, {"loss": [(step, 2.0) for step in range(60, 90)]})
    third = new_attempt(db, first.project_id, first.job_id, 3)
    send(db, third, 1, {"loss": [(step, 3.0) for step in range(80, 120)]})
    loss, only_first = read(db, first).series
    assert loss.steps == list(range(120))
    assert loss.values == [1.0] * 60 + [2.0] * 20 + [3.0] * 40
    assert (loss.num_points, only_first.steps) == (120, [5])
    assert read(db, first, attempt=1).series[0].values == [1.0] * 100
    assert read(db, first, attempt=2).attempt == 2


def test_thinning_reads_the_ledger_like_a_list(db: Database) -> None:
    lease = leased(db)
    values = [float((step * 7919) % 1009) for step in range(30_000)]
    for seq in range(30):
        send(db, lease, seq + 1, {"loss": [(step, values[step]) for step in range(seq * 1000, seq * 1000 + 1000)]})
    (series,) = read(db, lease, max_points=20).series
    assert len(series.steps) <= 20
    assert (series.steps[0], series.steps[-1], series.num_points) == (0, 29_999, 30_000)
    assert (min(series.values), max(series.values)) == (0.0, 1008.0)
    assert all(values[step] == value for step, value in zip(series.steps, series.values, strict=True))


def test_names_select_and_foreign_jobs_are_not_found(db: Database) -> None:
    lease, stranger = leased(db), leased(db)
    send(db, lease, 1, {"loss": [(0, 2.0)], "accuracy": [(0, 0.5)]})
    assert [series.name for series in read(db, lease, names=["loss", "unheard"]).series] == ["loss"]
    with db.read() as tx:
        for project_id, job_id, attempt in (
            (stranger.project_id, lease.job_id, None),
            (lease.project_id, "job_x", None),
            (lease.project_id, lease.job_id, 2),
        ):
            with pytest.raises(NotFound):
                job_metrics(tx, project_id, job_id, attempt=attempt)


def test_the_job_shows_newest_values_and_a_new_version(db: Database) -> None:
    lease = leased(db)
    send(db, lease, 1, {"loss": [(0, 2.0), (1, 1.0)]}, progress=Progress(phase="training", step=1, total_steps=10))
    send(db, lease, 2, {"loss": [(2, nan)], "accuracy": [(2, 0.5)]})
    with db.read() as tx:
        row = tx.execute(select(attempts.c.latest_metrics, attempts.c.progress)).one()
        version = tx.scalars(select(jobs.c.version)).one()
    assert row.latest_metrics == {"loss": 1.0, "accuracy": 0.5}
    assert row.progress["step"] == 1
    assert version > 2


@pytest.mark.parametrize(
    "series",
    [
        SeriesPoints(steps=[1, 2], values=[1.0], times=[1.0, 2.0]),
        SeriesPoints(steps=[2, 1], values=[1.0, 1.0], times=[1.0, 2.0]),
        SeriesPoints(steps=[1], values=[1.0], times=[nan]),
        SeriesPoints(steps=[], values=[1.0], times=[]),
    ],
)
def test_lists_that_do_not_fit_together_are_refused_whole(db: Database, series: SeriesPoints) -> None:
    lease = leased(db)
    good = SeriesPoints(steps=[1], values=[1.0], times=[1.0])
    with pytest.raises(InvalidInput) as refused, db.begin() as tx:
        append(tx, fence(tx, lease.attempt_id, lease.token), MetricsRequest(seq=1, series={"good": good, "a/b": series}), NOW)
    assert refused.value.problems[0].pointer == "/series/a~1b"
    with db.read() as tx:
        assert tx.scalar(select(func.count()).select_from(metric_blocks)) == 0


def test_promise_16_a_live_reader_gets_every_point_once_whatever_is_merged_meanwhile(db: Database) -> None:
    lease = leased(db)
    rng, place, seen, sent = random.Random(3), Place(0, 0), [], []
    for seq in range(1, 120):
        points = [(seq * 10 + index, rng.random()) for index in range(rng.choice([1, 2, 9]))]
        sent += points
        send(db, lease, seq, {"loss": [*points]})
        if rng.random() < 0.3:
            with db.snapshot() as tx:
                news = points_after(tx, lease.job_id, Place.parse(str(place)))
                assert news is not None
                assert news[-1].place == present_place(tx, lease.job_id)
            for item in news:
                seen += list(zip(item.series["loss"].steps, item.series["loss"].values, strict=True))
            place = news[-1].place
    with db.snapshot() as tx:
        for item in points_after(tx, lease.job_id, place) or []:
            seen += list(zip(item.series["loss"].steps, item.series["loss"].values, strict=True))
    assert seen == sent


def test_a_live_reader_goes_on_into_the_next_attempt(db: Database) -> None:
    first = leased(db)
    send(db, first, 5, {"loss": [(0, 1.0)], "other": [(0, 1.0)]})
    end(db, first)
    second = new_attempt(db, first.project_id, first.job_id, 2)
    send(db, second, 1, {"loss": [(0, 2.0)]})
    with db.snapshot() as tx:
        news = points_after(tx, first.job_id, Place(1, 4), ["loss"])
        assert news is not None
        assert [(item.place, item.series["loss"].values.tolist()) for item in news] == [(Place(1, 5), [1.0]), (Place(2, 1), [2.0])]
        assert points_after(tx, first.job_id, Place(2, 1)) == []


def test_a_reader_too_far_behind_is_told_to_start_again(db: Database) -> None:
    lease = leased(db)
    for seq in range(6):
        send(db, lease, seq + 1, {"loss": [(step, 1.0) for step in range(seq * 10_000, seq * 10_000 + 10_000)]})
    with db.snapshot() as tx:
        assert points_after(tx, lease.job_id, Place(1, 0)) is None
        assert points_after(tx, lease.job_id, Place(1, 4)) is not None
    assert MAX_BACKLOG < 60_000


@pytest.mark.parametrize("text", ["", "1", "1.", "a.1", "1.1.1", "-1.1", "1.1\n", "9" * 30 + ".1"])
def test_an_event_id_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Place.parse(text)


def test_small_blocks_are_found_by_an_index_of_their_own(sqlite_url: str) -> None:
    where = next(index for index in metric_blocks.indexes if index.name == "ix_metric_blocks_open").dialect_options["sqlite"]["where"]
    assert str(where) == f"num_points < {CLOSED}"
    db = Database(sqlite_url)
    with db.read() as tx:
        statement = str(OPEN_BLOCKS.compile(dialect=tx.dialect)).replace("?", "'att_1'")
        plan = [row.detail for row in tx.execute(text(f"EXPLAIN QUERY PLAN {statement}"))]
    db.dispose()
    assert any("ix_metric_blocks_open" in line for line in plan)
    assert not any(line.startswith("SCAN metric_blocks") for line in plan)

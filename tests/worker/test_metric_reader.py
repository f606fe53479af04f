"""Lines of metrics.jsonl become batches: in order, complete, and never blocked by a line that makes no sense."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.run_dir import RunDir
from worker.metric_reader import MAX_POINTS, Batch, MetricReader


def write(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(lines)


def line(step: int, **values: float | None) -> str:
    body = ", ".join(f'"{name}": {"null" if value is None else value}' for name, value in values.items())
    return f'{{"seq": 1, "step": {step}, "at": {step}.5, "values": {{{body}}}}}\n'


def read_all(reader: MetricReader) -> list[Batch]:
    return list(iter(reader.next_batch, None))


def test_points_come_in_step_order_by_name(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path)
    write(run_dir.metrics, line(1, loss=0.5), line(2, loss=0.25, accuracy=1.0))
    (batch,) = read_all(MetricReader(run_dir))
    assert (batch.series["loss"].steps, batch.series["loss"].values, batch.series["loss"].times) == ([1, 2], [0.5, 0.25], [1.5, 2.5])
    assert batch.series["accuracy"].steps == [2]


def test_a_torn_last_line_waits_for_its_end(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path)
    reader = MetricReader(run_dir)
    whole = line(2, loss=0.25)
    write(run_dir.metrics, line(1, loss=0.5), whole[:20])
    assert [batch.series["loss"].steps for batch in read_all(reader)] == [[1]]
    write(run_dir.metrics, whole[20:])
    assert [batch.series["loss"].steps for batch in read_all(reader)] == [[2]]


def test_what_json_has_no_number_for_becomes_null(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path)
    write(run_dir.metrics, '{"seq": 1, "step": 1, "at": 1, "values": {"a": NaN, "b": Infinity, "c": null}}\n')
    (batch,) = read_all(MetricReader(run_dir))
    assert [points.values for points in batch.series.values()] == [[None], [None], [None]]


def test_a_senseless_line_is_counted_and_passed_over(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path)
    bad = ("nonsense\n", "[]\n", "{}\n", line(-1, loss=1.0), '{"step": 1, "at": 1, "values": {"a\\u0000b": 1}}\n', "\x00\x00\n")
    write(run_dir.metrics, *bad, line(3, loss=0.5))
    reader = MetricReader(run_dir)
    (batch,) = read_all(reader)
    assert batch.series["loss"].steps == [3]
    assert reader.num_unreadable == len(bad)


def test_steps_that_fall_begin_a_new_batch(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path)
    write(run_dir.metrics, line(5, loss=1.0), line(4, loss=1.0), line(4, loss=1.0))
    assert [batch.series["loss"].steps for batch in read_all(MetricReader(run_dir))] == [[5], [4, 4]]


@given(st.lists(st.integers(min_value=0, max_value=5), max_size=60), st.integers(min_value=1, max_value=400))
def test_no_point_is_lost_doubled_or_put_into_too_large_a_batch(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], width: int
) -> None:
    run_dir = RunDir.create(tmp_path_factory.mktemp("run"))
    names = [f"m{number}" for number in range(width % 7 + 1)]
    write(run_dir.metrics, *(line(step, **dict.fromkeys(names, 1.0)) for step in steps for _ in range(width // 50 + 1)))
    batches = read_all(MetricReader(run_dir))
    seen = [step for batch in batches for step in batch.series[names[0]].steps]
    assert seen == [step for step in steps for _ in range(width // 50 + 1)]
    assert all(batch.num_points <= MAX_POINTS for batch in batches)

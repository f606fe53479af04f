"""Thinning keeps what a chart must show, however a series is cut into blocks."""

from array import array
from math import inf, isfinite, nan

from hypothesis import given
from hypothesis import strategies as st

from core.metrics.pack import Points, finite_bounds, joined, pack, unpack
from core.metrics.thin import Block, thin

values = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([nan, inf, -inf]))


def series_of(numbers: list[float]) -> Points:
    count = len(numbers)
    return Points(array("q", range(count)), array("d", numbers), array("d", range(count)), array("I", [1]) * count)


def blocks_of(points: Points, length: int) -> list[Block]:
    pieces = [points.cut(start, start + length) for start in range(0, len(points), length)]
    return [Block(len(piece), *finite_bounds(piece.values), load=lambda piece=piece: piece) for piece in pieces]


@given(st.lists(values, min_size=1, max_size=400), st.integers(1, 50), st.integers(2, 60))
def test_at_most_the_asked_number_of_points_with_both_ends(numbers: list[float], length: int, max_points: int) -> None:
    thinned = thin(blocks_of(series_of(numbers), length), max_points)
    assert len(thinned) <= max(max_points, 1)
    assert (thinned.steps[0], thinned.steps[-1]) == (0, len(numbers) - 1)
    assert list(thinned.steps) == sorted(set(thinned.steps))


@given(st.lists(values, min_size=1, max_size=400), st.integers(1, 50), st.integers(4, 60))
def test_the_least_and_the_greatest_finite_value_survive(numbers: list[float], length: int, max_points: int) -> None:
    thinned = thin(blocks_of(series_of(numbers), length), max_points)
    assert finite_bounds(thinned.values) == finite_bounds(array("d", numbers))


@given(st.lists(st.floats(-10, 10), min_size=30, max_size=400), st.integers(4, 20))
def test_every_bucket_shows_its_own_extremes(numbers: list[float], max_points: int) -> None:
    thinned = thin(blocks_of(series_of(numbers), 1024), max_points)
    if len(numbers) <= max_points:
        return
    num_buckets = (max_points - 2) // 2
    kept = dict(zip(thinned.steps, thinned.values, strict=True))
    for bucket in range(num_buckets):
        inside = range(len(numbers) * bucket // num_buckets, len(numbers) * (bucket + 1) // num_buckets)
        shown = [kept[step] for step in inside if step in kept]
        assert min(shown) == min(numbers[step] for step in inside)
        assert max(shown) == max(numbers[step] for step in inside)


@given(st.lists(values, max_size=60))
def test_a_short_series_is_left_as_it_is_and_survives_packing(numbers: list[float]) -> None:
    points = series_of(numbers)
    thinned = thin(blocks_of(unpack(pack(points)), 7), 100)
    assert pack(thinned) == pack(points)


def test_a_long_series_loads_no_more_blocks_than_points_are_asked_for() -> None:
    loads = 0
    piece = series_of([float(index % 7) for index in range(1024)])

    def load() -> Points:
        nonlocal loads
        loads += 1
        return piece

    thinned = thin([Block(1024, 0.0, 6.0, load) for _ in range(5_000)], 100)
    assert len(thinned) <= 100
    assert loads <= 100


def test_a_series_without_one_finite_value_is_still_shown() -> None:
    thinned = thin(blocks_of(series_of([nan] * 500), 10), 20)
    assert 2 <= len(thinned) <= 20
    assert not any(isfinite(value) for value in thinned.values)
    assert len(joined([])) == 0

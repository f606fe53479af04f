"""Which part of a download a Range header asks for."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.transfer.ranges import RangeNotSatisfiable, Span, wanted_span

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", Span(0, 1000)),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=10-19", Span(10, 20)),
        ("bytes=990-5000", Span(990, 1000)),
        ("bytes=-500", Span(500, 1000)),
        ("bytes=-5000", Span(0, 1000)),
        ("BYTES = 5-9 ", Span(5, 10)),
        ("bytes=5-2", None),  # malformed: the whole (RFC 9110, 14.1.1)
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),  # several: the whole
        ("bytes=" + ",".join(["0-0"] * 10_000), None),
        ("bytes=0x1-2", None),
        ("bytes=\u0661-\u0662", None),
        ("items=0-1", None),
        ("", None),
        ("bytes=" + "9" * 50 + "-", None),
    ],
)
def test_a_single_range_is_a_part_and_anything_else_the_whole(header: str, span: Span | None) -> None:
    started = time.thread_time()
    assert wanted_span({"range": header}, ETAG, 1000) == span
    assert time.thread_time() - started < 0.05


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-2000", "bytes=99999999-", "bytes=-0"])
def test_a_range_behind_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        wanted_span({"range": header}, ETAG, 1000)


def test_an_empty_object_has_no_range() -> None:
    with pytest.raises(RangeNotSatisfiable):
        wanted_span({"range": "bytes=0-"}, ETAG, 0)


@pytest.mark.parametrize(
    ("if_range", "is_part"), [(ETAG, True), ('"old"', False), ('W/"abc"', False), ("Mon, 01 Jan 2026 00:00:00 GMT", False)]
)
def test_if_range_holds_for_this_very_entity_tag_alone(if_range: str, is_part: bool) -> None:
    span = wanted_span({"range": "bytes=1-2", "if-range": if_range}, ETAG, 10)
    assert (span is not None) is is_part


@given(st.text(max_size=40), st.integers(0, 10_000))
def test_no_header_gives_bytes_that_do_not_exist(header: str, size: int) -> None:
    try:
        span = wanted_span({"range": "bytes=" + header}, ETAG, size)
    except RangeNotSatisfiable:
        return
    assert span is None or 0 <= span.start < span.end <= size

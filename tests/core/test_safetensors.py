"""Headers of safetensors files: real ones pass, and every way to lie in one is found without reading a tensor."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from core.models.safetensors import MAX_HEADER_BYTES, BadSafetensors, check_safetensors

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def check(data: bytes) -> int:
    return check_safetensors(lambda start, end: data[start:end], len(data))


def written(header: Any, body: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def test_what_the_library_writes_is_accepted() -> None:
    kinds = (np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_)
    tensors = {np.dtype(kind).name: np.zeros((3, 5), kind) for kind in kinds}
    tensors |= {"empty": np.zeros((0, 4), np.float32), "scalar": np.zeros((), np.float32)}
    assert check(save(tensors, metadata={"format": "np"})) == len(tensors)
    assert check(save({})) == 0


def test_spaces_behind_the_header_belong_to_it() -> None:
    assert check(written(json.dumps({"a": F32}).encode() + b"   ", bytes(8))) == 1


def test_a_part_of_a_byte_counts_in_eighths() -> None:
    assert check(written({"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}, bytes(2))) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "too few"),
        (b"\x80\x05}q\x00.", "too few"),
        (b"PK\x03\x04" + bytes(100), "truncated"),
        (written({"a": F32}, bytes(8))[:20], "truncated"),
        (written({"a": F32}, bytes(7)), "truncated"),
        (written({"a": F32}, bytes(9)), "hidden"),
        (written(b"[]"), "begin with"),
        (written(b' {"a": 1}'), "begin with"),
        (written(b"{"), "not JSON"),
        (written(b'{"a": 1, "a": 1}'), "twice"),
        (written(b'{"\xff": 1}'), "not JSON"),
        (written(b'{"a":' * 50_000), "not JSON"),
        (written({"__metadata__": {"a": 1}}), "__metadata__"),
        (written({"__metadata__": []}), "__metadata__"),
        (written({"a": 1}), "must have"),
        (written({"a": {**F32, "more": 1}}, bytes(8)), "must have"),
        (written({"a": {**F32, "dtype": "PICKLE"}}, bytes(8)), "unknown dtype"),
        (written({"a": {**F32, "dtype": ["F32"]}}, bytes(8)), "unknown dtype"),
        (written({"a": {**F32, "shape": [3]}}, bytes(8)), "does not fill"),
        (written({"a": {**F32, "shape": [-2]}}, bytes(8)), "counts"),
        (written({"a": {**F32, "shape": [True, 2]}}, bytes(8)), "counts"),
        (written({"a": {**F32, "shape": [2.0]}}, bytes(8)), "counts"),
        (written({"a": {**F32, "shape": [2**62, 2**62]}}, bytes(8)), "does not fill"),
        (written({"a": {**F32, "data_offsets": [0]}}, bytes(8)), "counts"),
        (written({"a": {**F32, "data_offsets": [8, 16]}}, bytes(16)), "begins at byte 8"),
        (written({"a": F32, "b": {**F32, "data_offsets": [4, 12]}}, bytes(12)), "begins at byte 4"),
        (written({"a": F32, "b": {**F32, "data_offsets": [16, 24]}}, bytes(24)), "begins at byte 16"),
    ],
)
def test_promise_20_a_broken_file_is_refused_with_the_reason(data: bytes, words: str) -> None:
    with pytest.raises(BadSafetensors, match=words):
        check(data)


def test_an_endless_header_is_never_read() -> None:
    asked: list[tuple[int, int]] = []

    def read(start: int, end: int) -> bytes:
        asked.append((start, end))
        return (MAX_HEADER_BYTES + 1).to_bytes(8, "little")

    tracemalloc.start()
    with pytest.raises(BadSafetensors, match="are accepted"):
        check_safetensors(read, 1 << 40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert asked == [(0, 8)]
    assert peak < 1 << 20

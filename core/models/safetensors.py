"""Reads the header of a safetensors file and checks it against the file's size; no tensor is read.

The format (https://github.com/huggingface/safetensors#format): 8 bytes, the little-endian length N of the header; N bytes of
JSON that begin with ``{`` and map each name to ``dtype``, ``shape`` and ``data_offsets``, besides ``__metadata__`` of text to
text; then the tensors' bytes. Offsets count from the end of the header and cover the rest without a hole or an overlap.
"""

import json
from collections.abc import Callable
from math import prod
from typing import Any

MAX_HEADER_BYTES = 8 << 20  # some 50,000 tensors; parsed, it must not fill the memory of a server
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_BITS = {
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}

Read = Callable[[int, int], bytes]  # bytes from a start to an end


class BadSafetensors(Exception):
    """The file is not what the format says; the message says where."""


def check_safetensors(read: Read, size: int) -> int:
    """How many tensors the file of ``size`` bytes holds. Reads its first bytes alone. Raises BadSafetensors."""
    if size < _LENGTH_BYTES:
        raise BadSafetensors(f"{size} bytes are too few for a safetensors file")
    length = int.from_bytes(read(0, _LENGTH_BYTES), "little")
    if length > size - _LENGTH_BYTES:
        raise BadSafetensors(
            f"its header claims {length} bytes, and {size - _LENGTH_BYTES} follow: no safetensors file, or a truncated one"
        )
    if length > MAX_HEADER_BYTES:
        raise BadSafetensors(f"its header has {length} bytes; {MAX_HEADER_BYTES} are accepted")
    tensors = _parse(read(_LENGTH_BYTES, _LENGTH_BYTES + length))
    _check_metadata(tensors.pop(_METADATA, {}))
    spans = sorted((*_span(name, value), name) for name, value in tensors.items())
    _check_cover(spans, size - _LENGTH_BYTES - length)
    return len(spans)


def _parse(header: bytes) -> dict[str, Any]:
    if not header.startswith(b"{"):
        raise BadSafetensors("its header does not begin with {")
    try:
        parsed: dict[str, Any] = json.loads(header.decode("utf-8"), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise BadSafetensors(f"its header is not JSON: {str(error)[:200]}") from None
    return parsed


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers could disagree about which of two equal names counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadSafetensors(f"{_METADATA} must map text to text")


def _span(name: str, value: Any) -> tuple[int, int]:
    """First byte and end of one tensor, counted from the end of the header."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise BadSafetensors(f"tensor {name[:100]!r} must have dtype, shape and data_offsets")
    bits = _BITS.get(value["dtype"]) if isinstance(value["dtype"], str) else None
    shape, offsets = value["shape"], value["data_offsets"]
    if bits is None:
        raise BadSafetensors(f"tensor {name[:100]!r} has the unknown dtype {str(value['dtype'])[:40]!r}")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise BadSafetensors(f"the shape and data_offsets of tensor {name[:100]!r} must be counts")
    if (offsets[1] - offsets[0]) * 8 != prod(shape) * bits:
        raise BadSafetensors(f"tensor {name[:100]!r} of shape {shape[:8]} and dtype {value['dtype']} does not fill bytes {offsets}")
    return offsets[0], offsets[1]


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 64 and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _check_cover(spans: list[tuple[int, int, str]], num_bytes: int) -> None:
    end = 0
    for start, stop, name in spans:
        if start != end:
            raise BadSafetensors(f"tensor {name[:100]!r} begins at byte {start}, the one before it ends at {end}")
        end = stop
    if end != num_bytes:
        raise BadSafetensors(
            f"its tensors have {end} bytes, and {num_bytes} follow the header: truncated, or something is hidden behind them"
        )

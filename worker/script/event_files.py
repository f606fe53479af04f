"""Scalars in TensorBoard's event files, read without TensorBoard or protobuf.

A file is a sequence of TFRecords (length, its CRC, data, its CRC; tensorflow/core/lib/io/record_writer.h), each one Event message
(tensorflow/core/util/event.proto, summary.proto, tensor.proto) in protobuf's wire format. CRCs are not checked: a record is read
when it is there whole.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from core.inside import open_inside

NAMES = "events.out.tfevents.*"
MAX_RECORD_BYTES = 8 << 20  # larger ones are images, and are passed over
MAX_READ_BYTES = 16 << 20  # of one file in one look
_HEADER, _CRC_BYTES = struct.Struct("<QI"), 4
_FLOAT, _DOUBLE = 1, 2  # tensor.proto's DataType


class Scalars(NamedTuple):
    """What one event says."""

    step: int
    at: float  # Unix seconds
    values: dict[str, float]


@dataclass(slots=True)
class EventFile:
    """Reads on from where it was; a torn last record waits for the next look. What makes no sense ends the file."""

    root: Path  # below which the script may have put links and pipes
    path: Path
    offset: int = 0
    is_broken: bool = False

    def read(self) -> Iterator[Scalars]:
        """What is new; nothing when the file is gone, or has become something that is no file."""
        try:
            file = open_inside(self.root, self.path)
        except OSError:
            return
        with file:
            yield from self._read(file, os.fstat(file.fileno()).st_size)

    def _read(self, file: BinaryIO, size: int) -> Iterator[Scalars]:
        end = self.offset + MAX_READ_BYTES
        while not self.is_broken and self.offset < end:
            file.seek(self.offset)
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return
            length = _HEADER.unpack(header)[0]
            after = self.offset + _HEADER.size + length + _CRC_BYTES
            if after > size:
                self.is_broken = length > 1 << 40
                return
            self.offset = after
            if length <= MAX_RECORD_BYTES:
                yield from self._parsed(file.read(length))

    def _parsed(self, record: bytes) -> Iterator[Scalars]:
        try:
            event = parse_event(record)
        except (ValueError, struct.error, IndexError):
            self.is_broken = True
            return
        if event.values:
            yield event


def parse_event(record: bytes) -> Scalars:
    """ValueError, IndexError or struct.error when the bytes are no Event."""
    step, at, values = 0, 0.0, {}
    for number, value in _fields(record):
        if number == 1 and isinstance(value, bytes):
            at = struct.unpack("<d", value)[0]
        elif number == 2 and isinstance(value, int):
            step = value if value < 1 << 63 else value - (1 << 64)
        elif number == 5 and isinstance(value, bytes):
            for inner, content in _fields(value):
                if inner == 1 and isinstance(content, bytes) and (scalar := _scalar(content)):
                    values[scalar[0]] = scalar[1]
    return Scalars(step, at, values)


def _scalar(message: bytes) -> tuple[str, float] | None:
    """Tag and number of a Summary.Value: ``simple_value``, or a tensor of one float."""
    tag, number = "", None
    for field, value in _fields(message):
        if not isinstance(value, bytes):
            continue
        if field == 1:
            tag = value.decode()
        elif field == 2:
            number = float(struct.unpack("<f", value)[0])
        elif field == 8:
            number = _of_tensor(value)
    return (tag, number) if tag and number is not None else None


def _of_tensor(message: bytes) -> float | None:
    kind, content = 0, b""
    for field, value in _fields(message):
        if field == 1 and isinstance(value, int):
            kind = value
        elif isinstance(value, bytes) and field in (4, 5, 6):  # tensor_content, float_val, double_val
            content = value
    if (kind, len(content)) == (_FLOAT, 4):
        return float(struct.unpack("<f", content)[0])
    if (kind, len(content)) == (_DOUBLE, 8):
        return float(struct.unpack("<d", content)[0])
    return None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: an int for varints, bytes for everything else."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        length = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            length, position = _varint(message, position)
        if length is None or position + length > len(message):
            raise ValueError("not a protobuf message")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("not a varint")

"""Identifiers: a prefix that names the kind, then 26 characters that sort by time of birth.

The body is a ULID (48 bits of Unix milliseconds, 80 random bits) in lower-case Crockford base 32,
see https://github.com/ulid/spec. Ids are never secrets: access is decided by project, not by guessing.
"""

import os
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_BODY_LENGTH = 26


def new_id(prefix: str) -> str:
    """A fresh id such as ``job_01jd3v...``; ids of one prefix sort by creation time (to the millisecond)."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return f"{prefix}_{_base32(number)}"


def _base32(number: int) -> str:
    digits = [ALPHABET[number >> shift & 31] for shift in range(5 * (_BODY_LENGTH - 1), -1, -5)]
    return "".join(digits)

"""The text of an API key: ``ty_<8 characters of id>_<43 random ones><6 of checksum>``.

The prefix lets scanners find keys that leaked, and the checksum tells a typing error from a wrong key without a look
at the ledger. The 43 characters carry 256 random bits, so that the ledger may keep a plain SHA-256.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from zlib import crc32

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(r"(ty_([0-9A-Za-z]{8})_[0-9A-Za-z]{43})([0-9A-Za-z]{6})")


@dataclass(frozen=True, slots=True)
class Secret:
    """A key in the clear; it is shown once and never stored."""

    public_id: str
    text: str = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def mint() -> Secret:
    public_id = _base62(secrets.randbits(64), 8)
    body = f"ty_{public_id}_{_base62(secrets.randbits(256), 43)}"
    return Secret(public_id, body + _checksum(body))


def parse(text: str) -> Secret | None:
    """The key that the text is, or None when it cannot be one: another shape, or a wrong checksum."""
    match = _SHAPE.fullmatch(text)
    if match is None or match[3] != _checksum(match[1]):
        return None
    return Secret(match[2], text)


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), 6)


def _base62(number: int, width: int) -> str:
    """The last ``width`` digits; 43 hold 256 bits, 6 hold 32."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))

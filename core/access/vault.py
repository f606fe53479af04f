"""Seals values so that the ledger, its backups and its readers hold nothing that opens them; the master key lies elsewhere.

AES-256-GCM (NIST SP 800-38D) with a random nonce, under a key that HKDF-SHA256 (RFC 5869) derives from the operator's master key.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_PURPOSE = b"trainyard project secrets 1"


class CannotOpen(Exception):
    """The value was sealed under another key or for another place, or is damaged."""


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def derive(master_key: str, purpose: bytes) -> bytes:
    """A key of the master key for one purpose; none of them tells anything about another."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(master_key.encode())


class Sealer:
    """``place`` is where a value belongs; sealed for one place it opens at no other, so that values cannot be exchanged.

    A sealed value is the nonce, the ciphertext and the tag: 28 bytes longer than the plain one.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, value: bytes | memoryview, place: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, place)

    def open(self, sealed: bytes | memoryview, place: bytes) -> bytes:
        """CannotOpen unless ``seal`` made it with this key for this place."""
        try:
            return self._cipher.decrypt(bytes(sealed[:NONCE_BYTES]), sealed[NONCE_BYTES:], place)
        except (InvalidTag, ValueError) as error:
            raise CannotOpen from error


class Vault:
    """Texts under the master key itself: the secrets of projects."""

    def __init__(self, master_key: str) -> None:
        self._sealer = Sealer(derive(master_key, _PURPOSE))

    def seal(self, value: str, place: str) -> bytes:
        return self._sealer.seal(value.encode(), place.encode())

    def open(self, sealed: bytes, place: str) -> str:
        """CannotOpen unless ``seal`` made it with this key for this place."""
        try:
            return self._sealer.open(sealed, place.encode()).decode()
        except ValueError as error:
            raise CannotOpen from error

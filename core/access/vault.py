"""Seals values so that the ledger, its backups and its readers hold nothing that opens them; the master key lies elsewhere.

AES-256-GCM (NIST SP 800-38D) with a random nonce, under a key that HKDF-SHA256 (RFC 5869) derives from the operator's master key.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PURPOSE = b"trainyard project secrets 1"
_NONCE_BYTES = 12


class CannotOpen(Exception):
    """The value was sealed under another key or for another place, or is damaged."""


class Vault:
    """``place`` is where a value belongs; sealed for one place it opens at no other, so that rows cannot be exchanged."""

    def __init__(self, master_key: str) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(master_key.encode())
        self._cipher = AESGCM(key)

    def seal(self, value: str, place: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value.encode(), place.encode())

    def open(self, sealed: bytes, place: str) -> str:
        """CannotOpen unless ``seal`` made it with this key for this place."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise CannotOpen from error

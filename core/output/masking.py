"""Hides secrets in what ranks print, byte for byte: offsets of the source stay offsets of what is stored.

The shapes are those of ``core.logs.mask``; here each secret byte becomes ``*``, so that a worker that counts the bytes
of its files and a reader who counts those of the ledger mean the same place. A ``*`` counts as part of a secret,
so that a secret whose first half was hidden already is recognised when the second half arrives.
"""

import re

_SECRET = re.compile(
    rb"ty_[A-Za-z0-9]{8}_(?P<key>[A-Za-z0-9*]+)"
    rb"|lease_(?P<token>[A-Za-z0-9_*-]{20,})"
    rb"|://[^:/@\s]{0,64}:(?P<password>[^@/\s]{1,128})@"
)
OVERLAP = 256  # bytes before an append that are looked at again: longer than a key, a token or the password in a URL


def mask_bytes(text: bytes) -> bytes:
    """The text with API keys, lease tokens and passwords in URLs replaced by as many ``*``."""
    return _SECRET.sub(_starred, text)


def _starred(match: re.Match[bytes]) -> bytes:
    start, end = match.span(match.lastgroup or 0)
    before, after = match.start(), match.end()
    return match[0][: start - before] + b"*" * (end - start) + match[0][len(match[0]) - (after - end) :]

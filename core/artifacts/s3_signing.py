"""Presigned URLs of S3-compatible stores: AWS Signature Version 4 in the query string.

Source: "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" in the Amazon S3 API Reference. The store's
driver can sign a method and a key alone; a download's name and type, and an upload's length, must be signed with them.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one bucket's endpoint: ``base_url`` with the bucket as the first part of its path."""

    base_url: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)

    def url(
        self,
        method: str,
        key: str,
        *,
        at: datetime,
        lasts: timedelta,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Where ``method`` is answered for ``lasts`` from the aware UTC instant ``at``; ``headers`` must be sent as they are here."""
        base = urlsplit(self.base_url)
        path = quote(f"{base.path.rstrip('/')}/{key}", safe="/-_.~")
        signed = {"host": base.netloc, **{name.lower(): value.strip() for name, value in (headers or {}).items()}}
        stamp = at.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        names = ";".join(sorted(signed))
        asked = {
            **(query or {}),
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.access_key_id}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(int(lasts.total_seconds())),
            "X-Amz-SignedHeaders": names,
        }
        pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in asked.items())
        parameters = "&".join(f"{name}={value}" for name, value in pairs)
        lines = [method, path, parameters, *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names, "UNSIGNED-PAYLOAD"]
        request = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        signature = self._signature(scope, "\n".join([ALGORITHM, stamp, scope, request]))
        return f"{base.scheme}://{base.netloc}{path}?{parameters}&X-Amz-Signature={signature}"

    def _signature(self, scope: str, text: str) -> str:
        key = f"AWS4{self.secret_access_key}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.digest(key, part.encode(), "sha256")
        return key.hex()

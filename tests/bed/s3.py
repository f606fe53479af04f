"""A private S3-compatible store: moto's server as a process of its own, on a loopback port."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from pydantic import SecretStr

from core.artifacts.content import Contents
from core.artifacts.s3_place import S3Place
from core.artifacts.s3_store import S3Store
from core.settings import ApiSettings
from tests.bed.processes import DidNotStart, Process, free_port
from tests.bed.waiting import until

SECRET = "bed-secret-of-the-bucket"
KEY_ID = "BEDKEYID"


class S3Server:
    """Holds what it stores in memory: killed, it has forgotten everything. It accepts any credentials."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._num_buckets = 0
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = Process(argv, log=home / "s3.log", environment={"PATH": "/usr/bin:/bin", "HOME": str(home)})

    def start(self) -> None:
        self.process.start()
        until(self._answers, within=30, what="the S3 server answers", explain=self.process.log_tail)

    def stop(self) -> None:
        self.process.stop()

    def new_bucket(self) -> "S3Bucket":
        self._num_buckets += 1
        bucket = S3Bucket(self, f"bucket-{self._num_buckets}")
        bucket.http.put(f"/{bucket.name}").raise_for_status()
        return bucket

    def _answers(self) -> bool:
        if not self.process.is_running:
            raise DidNotStart(f"moto.server ended at once\n{self.process.log_tail()}")
        try:
            return httpx2.get(f"{self.url}/moto-api/", timeout=5, trust_env=False).is_success
        except httpx2.TransportError:
            return False


class S3Bucket:
    """One empty bucket, the settings that name it, and a look inside."""

    def __init__(self, server: S3Server, name: str) -> None:
        self.name = name
        self.endpoint = server.url
        self.http = httpx2.Client(base_url=server.url, timeout=30, trust_env=False)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """For ApiSettings."""
        named = {
            "store_url": f"s3://{self.name}/yard",
            "s3_endpoint": self.endpoint,
            "s3_access_key_id": KEY_ID,
            "s3_secret_access_key": SecretStr(SECRET),
        }
        return {**named, **changes}

    def environment(self, **changes: Any) -> dict[str, str]:
        """The same for a process."""
        values = self.settings(**changes)
        plain = {name: value.get_secret_value() if isinstance(value, SecretStr) else str(value) for name, value in values.items()}
        return {f"TRAINYARD_{name.upper()}": value for name, value in plain.items()}

    def store(self, home: Path, *, reserve: float = 0.0, contents: Contents | None = None, **changes: Any) -> S3Store:
        return S3Store(S3Place.of(ApiSettings(**self.settings(**changes))), home, reserve=reserve, contents=contents)

    def names(self) -> list[str]:
        """What lies in the bucket, below the service's prefix."""
        found = self.http.get(f"/{self.name}", params={"list-type": "2"})
        parts = found.raise_for_status().text.split("<Key>")[1:]
        return sorted(part.partition("</Key>")[0].removeprefix("yard/") for part in parts)

    def bytes_of(self, key: str) -> bytes:
        place = S3Place.of(ApiSettings(**self.settings()))
        url = place.signer.url("GET", place.key(key), at=datetime.now(UTC), lasts=timedelta(minutes=1))
        return self.http.get(url).raise_for_status().content

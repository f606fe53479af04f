"""Where the bucket is and with which keys, for the driver and for presigned URLs."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlsplit

from core.artifacts.s3_signing import Signer
from core.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class S3Place:
    """``endpoint`` is how the service reaches the store, ``signer.base_url`` how clients and workers do."""

    bucket: str
    prefix: str
    endpoint: str
    signer: Signer
    is_direct: bool = field(default=True)

    @classmethod
    def of(cls, settings: ApiSettings) -> Self:
        """The place that complete settings name; ``core.settings`` has checked them."""
        assert settings.store_url is not None
        assert settings.s3_access_key_id is not None
        assert settings.s3_secret_access_key is not None
        where = urlsplit(settings.store_url)
        endpoint = _origin(settings.s3_endpoint or f"https://s3.{settings.s3_region}.amazonaws.com")
        public = _origin(settings.s3_public_endpoint or endpoint)
        secret = settings.s3_secret_access_key.get_secret_value()
        signer = Signer(f"{public}/{where.netloc}", settings.s3_region, settings.s3_access_key_id, secret)
        return cls(where.netloc, where.path.strip("/"), endpoint, signer, settings.s3_direct)

    def key(self, path: str) -> str:
        """The whole key of a path below the prefix."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def options(self) -> dict[str, Any]:
        """For the driver: the bucket in the path, never in the host name, as every store understands it."""
        return {
            "endpoint": self.endpoint,
            "region": self.signer.region,
            "access_key_id": self.signer.access_key_id,
            "secret_access_key": self.signer.secret_access_key,
            "virtual_hosted_style_request": False,
            "client_options": {"allow_http": self.endpoint.startswith("http://"), "connect_timeout": "5s", "timeout": "1h"},
            "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
        }


def _origin(url: str) -> str:
    """As an HTTP client writes it into Host, which is signed: in lower case and without the scheme's own port."""
    parts = urlsplit(url.lower())
    own_port = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(own_port)}"

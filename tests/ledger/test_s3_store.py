"""The bucket store's own promises: direct transfers that are verified, signatures that others compute too, a store that is away."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.auth
import httpx2
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from core.artifacts.s3_place import S3Place
from core.artifacts.s3_signing import Signer
from core.artifacts.s3_store import ONE_PUT, S3Store
from core.artifacts.store import DirectUpload
from core.artifacts.upload import UploadKey
from core.errors import BlobMissing, DigestMismatch, Unavailable
from core.settings import ApiSettings, SettingsError
from tests.bed.processes import free_port
from tests.bed.s3 import SECRET, S3Bucket
from tests.bed.servers import Servers

DATA = os.urandom(2_000_000)
SHA = hashlib.sha256(DATA).hexdigest()
KEY = UploadKey("att_1", SHA)
PLACE = f"sha256/{SHA[:2]}/{SHA[2:4]}/{SHA}"
AT = datetime(2013, 5, 24, tzinfo=UTC)


@pytest.fixture
def bucket(servers: Servers) -> S3Bucket:
    return servers.s3.new_bucket()


@pytest.fixture
def store(bucket: S3Bucket, tmp_path: Path) -> S3Store:
    return bucket.store(tmp_path)


def send(store: S3Store, data: bytes = DATA, key: UploadKey = KEY) -> None:
    with store.upload(key, len(DATA)) as upload:
        upload.write(data)


def put_at(place: DirectUpload | None, data: bytes = DATA) -> None:
    """As a client does it: nothing but what the service handed out."""
    assert place is not None
    httpx2.put(place.url, content=data, headers={**place.headers, "Content-Length": str(len(data))}, trust_env=False).raise_for_status()


def test_the_signature_is_the_one_of_amazons_example() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""
    signer = Signer(
        "https://examplebucket.s3.amazonaws.com", "us-east-1", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    )
    url = signer.url("GET", "test.txt", at=AT, lasts=timedelta(days=1))
    assert url.endswith("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


@pytest.mark.parametrize(
    ("method", "query", "headers"),
    [
        ("GET", {}, {}),
        ("PUT", {}, {"Content-Length": "2000000"}),
        ("GET", {"response-content-disposition": "attachment; filename=\"a b_.md\"; filename*=UTF-8''%C3%9C%20~.md"}, {}),
    ],
)
def test_the_signature_is_the_one_that_botocore_computes(
    method: str, query: Mapping[str, str], headers: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Signer("https://minio.example:9000/models", "eu-central-1", "KEYID", "s+cret/key")
    ours = signer.url(method, PLACE, at=AT, lasts=timedelta(minutes=15), query=query, headers=headers)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: AT)
    theirs = AWSRequest(method, f"https://minio.example:9000/models/{PLACE}", headers=dict(headers), params=dict(query))
    botocore.auth.S3SigV4QueryAuth(Credentials("KEYID", "s+cret/key"), "s3", "eu-central-1", expires=900).add_auth(theirs)
    assert theirs.url is not None
    assert ours.rpartition("X-Amz-Signature=")[2] == theirs.url.rpartition("X-Amz-Signature=")[2]


def test_a_direct_upload_becomes_an_object_and_leaves_nothing_else(store: S3Store, bucket: S3Bucket) -> None:
    put_at(store.upload_to(KEY, len(DATA)))
    assert not store.has(SHA)
    store.adopt(KEY, len(DATA))
    assert b"".join(store.read(SHA, 0, len(DATA))) == DATA
    assert bucket.names() == [PLACE]


@pytest.mark.parametrize("wrong", [DATA[::-1], DATA[:-1], DATA + b"x", b""])
def test_promise_19_a_direct_upload_with_another_digest_is_dropped(store: S3Store, bucket: S3Bucket, wrong: bytes) -> None:
    put_at(store.upload_to(KEY, len(DATA)), wrong)
    with pytest.raises(DigestMismatch):
        store.adopt(KEY, len(DATA))
    assert bucket.names() == []
    with pytest.raises(BlobMissing):
        store.adopt(KEY, len(DATA))


def test_what_is_put_again_after_it_was_verified_changes_nothing(store: S3Store, bucket: S3Bucket) -> None:
    place = store.upload_to(KEY, len(DATA))
    put_at(place)
    store.adopt(KEY, len(DATA))
    put_at(place, b"evil")
    assert b"".join(store.read(SHA, 0, len(DATA))) == DATA
    assert list(store.sweep(older_than=time.time() + 10)) == [SHA]
    assert bucket.names() == [PLACE]


def test_one_put_takes_no_more_than_the_protocol_allows(store: S3Store) -> None:
    assert store.upload_to(KEY, ONE_PUT) is not None
    assert store.upload_to(KEY, ONE_PUT + 1) is None


def test_a_download_url_serves_ranges_under_the_right_name(store: S3Store) -> None:
    send(store)
    url = store.download_url(SHA, media_type="text/markdown", disposition="attachment; filename*=UTF-8''%C3%9C.md")
    whole = httpx2.get(url, trust_env=False)
    assert whole.content == DATA
    assert whole.headers["content-type"].startswith("text/markdown")
    assert whole.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%9C.md"
    part = httpx2.get(url, headers={"Range": "bytes=100-"}, trust_env=False)
    assert (part.status_code, part.content) == (206, DATA[100:])


def test_direct_transfers_can_be_turned_off(bucket: S3Bucket, tmp_path: Path) -> None:
    assert bucket.store(tmp_path).direct is not None
    assert bucket.store(tmp_path, s3_direct=False).direct is None


def test_clients_are_sent_to_the_public_endpoint(bucket: S3Bucket, tmp_path: Path) -> None:
    store = bucket.store(tmp_path, s3_public_endpoint="https://Files.example.org:443/")
    url = store.download_url(SHA, media_type="text/plain", disposition="attachment")
    assert url.startswith(f"https://files.example.org/{bucket.name}/yard/{PLACE}?")
    send(store)  # the service itself goes the other way
    assert store.has(SHA)


@pytest.mark.parametrize("trouble", ["nobody listens", "no bucket"])
def test_a_store_that_is_away_costs_no_byte(bucket: S3Bucket, tmp_path: Path, trouble: str) -> None:
    away = {"s3_endpoint": f"http://127.0.0.1:{free_port()}"} if trouble == "nobody listens" else {"store_url": "s3://no-such-bucket"}
    broken = bucket.store(tmp_path, **away)
    with pytest.raises(Unavailable):
        send(broken)
    assert broken.durable_offset(KEY) == len(DATA)
    store = bucket.store(tmp_path)
    send(store, b"")
    assert b"".join(store.read(SHA, 0, len(DATA))) == DATA
    assert store.durable_offset(KEY) == 0


def test_a_deleter_and_whoever_stores_the_same_bytes_never_lose_them(bucket: S3Bucket, tmp_path: Path) -> None:
    """The bytes come again between the deleter's last look and its deletion: whoever brings them is told to come again."""
    deleter, other = bucket.store(tmp_path / "a"), bucket.store(tmp_path / "b")
    send(deleter)
    heard: list[str] = []
    looks = 0
    look = deleter._is_older

    def look_slowly(found: Any, than: float) -> bool:
        nonlocal looks
        looks += 1
        is_old = look(found, than)
        if looks == 2:
            with pytest.raises(Unavailable):
                send(other)
            heard.append("come again")
        return is_old

    deleter._is_older = look_slowly  # type: ignore[method-assign]
    assert deleter.delete(SHA, older_than=time.time() + 10)
    assert (heard, bucket.names()) == (["come again"], [])
    send(other, b"")
    assert bucket.names() == [PLACE]


def test_bytes_that_came_again_before_the_deleters_last_look_stay(bucket: S3Bucket, tmp_path: Path) -> None:
    store = bucket.store(tmp_path)
    send(store)
    looks = 0
    look = store._is_older

    def look_late(found: Any, than: float) -> bool:
        nonlocal looks
        looks += 1
        return look(found, than if looks == 1 else time.time() - 3600)

    store._is_older = look_late  # type: ignore[method-assign]
    assert not store.delete(SHA, older_than=time.time() + 10)
    assert bucket.names() == [PLACE]


def test_a_fork_before_the_first_use_does_no_harm(bucket: S3Bucket, tmp_path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from core.artifacts.open_store import open_store
from core.settings import ApiSettings
store = open_store(ApiSettings.from_environment())
child = os.fork()
store.put([str(child == 0).encode()])
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    environment = {"PATH": "/usr/bin:/bin", "TRAINYARD_DATA_DIR": str(tmp_path / "bytes"), **bucket.environment()}
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], env=environment, cwd=root, check=True, timeout=60)
    assert len(bucket.names()) == 2


def test_promise_24_the_secret_key_is_in_no_repr_and_no_url(bucket: S3Bucket, store: S3Store) -> None:
    settings = ApiSettings(**bucket.settings())
    place = store.upload_to(KEY, 5)
    shown = [repr(settings), settings.model_dump_json(), repr(S3Place.of(settings)), repr(store), repr(place)]
    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORE_URL", "bucket"),
        ("STORE_URL", "s3://"),
        ("STORE_URL", "s3://bucket/../other"),
        ("STORE_URL", "s3://bucket/a?b"),
        ("S3_ENDPOINT", "127.0.0.1:9000"),
        ("S3_ENDPOINT", "http://user:word@host"),
        ("S3_PUBLIC_ENDPOINT", "ftp://host"),
        ("S3_REGION", "eu central"),
        ("S3_SECRET_ACCESS_KEY", ""),
    ],
)
def test_settings_that_name_no_bucket_are_refused(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    for variable, good in bucket.environment().items():
        monkeypatch.setenv(variable, good)
    assert ApiSettings.from_environment().store_url == f"s3://{bucket.name}/yard"
    monkeypatch.setenv(f"TRAINYARD_{name}", value)
    with pytest.raises(SettingsError, match=name):
        ApiSettings.from_environment()

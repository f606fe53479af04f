"""A whole job whose bytes lie in a bucket: trained on a real node, downloaded with the client, a second job started from it."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bed.databases import Databases
from tests.bed.s3 import SECRET, S3Bucket
from tests.bed.servers import Servers
from tests.bed.stack import Stack
from trainyard import Client

DIGITS: dict[str, Any] = {
    "recipe": "image-classification",
    "dataset": {"builtin": "digits"},
    "training": {"epochs": 2},
    "resources": {"devices_per_node": 1, "accelerator": "cpu"},
    "seed": 1,
}


@pytest.fixture
def bucket(servers: Servers) -> S3Bucket:
    return servers.s3.new_bucket()


@pytest.fixture
def stack(servers: Servers, databases: Databases, bucket: S3Bucket) -> Iterator[Stack]:
    with Stack(servers, databases, api_env=bucket.environment()) as stack:
        yield stack


def test_a_job_leaves_its_model_in_the_bucket_and_another_starts_from_it(stack: Stack, bucket: S3Bucket, tmp_path: Path) -> None:
    first = stack.submit(DIGITS)
    assert stack.wait_terminal(first, seconds=120)["state"] == "succeeded", stack.explain(first)
    with Client(stack.url, stack.admin_key) as client:
        listed = {item.path: item for item in client.artifacts(first)}
        client.download(first, tmp_path)
    assert {"model.pt2", "model.safetensors", "metrics.json"} <= listed.keys()
    for path, item in listed.items():
        assert hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() == item.sha256, path
    kept = [name for name in bucket.names() if name.startswith("sha256/")]
    assert {item.sha256 for item in listed.values()} <= {name.rpartition("/")[2] for name in kept}
    assert not (stack.home / "bytes" / "sha256").exists()
    second = stack.submit({**DIGITS, "base_model": {"job": first}})
    assert stack.wait_terminal(second, seconds=120)["state"] == "succeeded", stack.explain(second)
    said = stack.api.log.read_text() + stack.node.log.read_text()
    assert SECRET not in said
    assert not re.search(r"X-Amz-Signature=[0-9a-f]", said)

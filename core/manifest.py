"""Manifests: a folder of files with size and SHA-256 of each, written last, so that a folder with one is whole.

Checkpoints, artifacts and packages are all handed on this way. Nothing here executes or unpickles content.
"""

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from core.inside import open_inside

MANIFEST = "manifest.json"
MAX_PART_BYTES = 255
MAX_DEPTH = 32
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class ManifestError(Exception):
    """The folder is not what its manifest says, or has none."""


def check_relative_path(path: str) -> str:
    """The path itself when it is a plain relative one; ValueError when it could mean anything else.

    Refused, never repaired: absolute, empty or dotted parts, backslash, control and bidi characters,
    a form other than NFC, parts over 255 bytes, more than 32 parts.
    """
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        raise ValueError(f"path has more than {MAX_DEPTH} parts")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("path must be relative, without empty, '.' or '..' parts")
    if any(len(part.encode("utf-8", "surrogatepass")) > MAX_PART_BYTES for part in parts):
        raise ValueError(f"a part of the path is longer than {MAX_PART_BYTES} bytes")
    if _FORBIDDEN.search(path) or unicodedata.normalize("NFC", path) != path:
        raise ValueError("path holds a backslash, a control or direction character, or is not in Unicode NFC")
    return path


RelativePath = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(check_relative_path)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ManifestFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    path: RelativePath
    size: int = Field(ge=0, le=2**53)
    sha256: Sha256


class Manifest(BaseModel):
    """``files`` in path order; ``meta`` is whatever its writer wants a reader to know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[ManifestFile, ...]
    meta: dict[str, Any] = {}

    @property
    def num_bytes(self) -> int:
        return sum(file.size for file in self.files)


def content_key(files: Iterable[ManifestFile]) -> str:
    """A name for exactly these files, in whatever order they come: a SHA-256 of their paths, sizes and digests."""
    text = json.dumps(sorted((file.path, file.size, file.sha256) for file in files))
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(root: Path, paths: Iterable[Path]) -> tuple[ManifestFile, ...]:
    """Size and SHA-256 of files below ``root``, which are read whole."""
    return tuple(
        ManifestFile(path=path.relative_to(root).as_posix(), size=path.stat().st_size, sha256=sha256_of(path)) for path in sorted(paths)
    )


def seal(root: Path, meta: dict[str, Any]) -> Manifest:
    """Makes every file below ``root`` durable, then writes its manifest there as the last file."""
    paths = [path for path in root.rglob("*") if path.is_file() and path != root / MANIFEST]
    for path in paths:
        fsync(path)
    manifest = Manifest(files=describe(root, paths), meta=meta)
    (root / MANIFEST).write_text(manifest.model_dump_json())
    fsync(root / MANIFEST)
    for folder in {root, *(path.parent for path in paths)}:
        fsync(folder)
    return manifest


def read_manifest(root: Path) -> Manifest:
    """The manifest of ``root`` without a look at the files; ManifestError when there is none or it cannot be read."""
    try:
        with open_inside(root, root / MANIFEST) as file:
            return Manifest.model_validate_json(file.read())
    except (OSError, ValidationError) as error:
        raise ManifestError(f"{root.name} has no readable manifest: {type(error).__name__}") from None


def verify(root: Path) -> Manifest:
    """The manifest of ``root`` after every file it names was read and compared; ManifestError names the first that differs."""
    manifest = read_manifest(root)
    for file in manifest.files:
        if size_of(root, file.path) != file.size:
            raise ManifestError(f"{root.name}/{file.path} is missing or has another size than the manifest says")
        with open_inside(root, root / file.path) as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
                raise ManifestError(f"{root.name}/{file.path} does not have the SHA-256 of its manifest")
    return manifest


def size_of(root: Path, name: str) -> int | None:
    """Bytes of the regular file ``name`` below ``root``; None when there is none, or a link leads there."""
    try:
        with open_inside(root, root / name) as file:
            return os.fstat(file.fileno()).st_size
    except OSError:
        return None


def fsync(path: Path) -> None:
    """Makes a file's bytes, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A folder with a manifest is whole, and a path in it can mean only a file below it."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.manifest import MANIFEST, Manifest, ManifestError, check_relative_path, describe, read_manifest, seal, sha256_of, verify

SHA = "0" * 64


@pytest.mark.parametrize(
    "path",
    [
        "", ".", "..", "/etc/passwd", "a/../b", "a//b", "a/", "./a", "a\\b", "a\0b", "a\nb", "x" * 256, "/".join("a" * 33),
        "e\u0301", "a\u202eb", "a\x7f",
    ],
)  # fmt: skip
def test_promise_21_a_path_that_could_mean_anything_else_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"path|part"):
        check_relative_path(path)


@pytest.mark.parametrize("path", ["model.pt2", "stacks/rank-0.txt", "…/ü", "-rf", "a" * 255, ".hidden", "a b", "..."])
def test_a_plain_relative_path_is_taken_as_it_is(path: str) -> None:
    assert check_relative_path(path) == path


@given(st.text(max_size=60))
def test_promise_21_whatever_is_accepted_stays_below_its_folder(path: str) -> None:
    try:
        check_relative_path(path)
    except ValueError:
        return
    joined = os.path.normpath(os.path.join("/root-of-it", path))
    assert joined == f"/root-of-it/{path}"


def test_promise_10_a_sealed_folder_verifies_and_describes_every_file(tmp_path: Path) -> None:
    _fill(tmp_path)
    manifest = seal(tmp_path, {"step": 7})
    assert verify(tmp_path) == manifest == read_manifest(tmp_path)
    assert [file.path for file in manifest.files] == ["deep/b.bin", "z.txt"]
    assert (manifest.num_bytes, manifest.meta) == (6, {"step": 7})
    assert manifest.files == describe(tmp_path, [tmp_path / "z.txt", tmp_path / "deep" / "b.bin"])


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "grow", "link"])
def test_promise_11_every_kind_of_damage_is_found(tmp_path: Path, damage: str) -> None:
    _fill(tmp_path)
    seal(tmp_path, {})
    victim = tmp_path / "deep" / "b.bin"
    content = victim.read_bytes()
    if damage in ("remove", "link"):
        victim.unlink()
    if damage == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        victim.symlink_to(tmp_path / "elsewhere")
    changed = {"truncate": content[:-1], "flip": bytes([content[0] ^ 1]) + content[1:], "grow": content + b"x"}
    if damage in changed:
        victim.write_bytes(changed[damage])
    with pytest.raises(ManifestError, match=r"deep/b\.bin"):
        verify(tmp_path)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"files": 1}', '{"files": [], "extra": 1}'])
def test_promise_11_a_folder_without_a_readable_manifest_is_not_whole(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ManifestError, match="no readable manifest"):
        verify(tmp_path)


def test_a_manifest_names_only_digests_and_sizes_that_can_be() -> None:
    for file in (
        {"path": "a", "size": -1, "sha256": SHA},
        {"path": "a", "size": 0, "sha256": SHA[1:]},
        {"path": "a", "size": 0, "sha256": "G" * 64},
    ):
        with pytest.raises(ValidationError):
            Manifest.model_validate({"files": [file]})


def test_a_digest_is_the_one_that_everybody_computes(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert sha256_of(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _fill(root: Path) -> None:
    (root / "deep").mkdir()
    (root / "deep" / "b.bin").write_bytes(b"\x00\x01\x02")
    (root / "z.txt").write_bytes(b"abc")

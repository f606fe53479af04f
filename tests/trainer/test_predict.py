"""``python -m trainer.predict``: inputs are found, a damaged package is refused, errors are one line and exit code 2."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.manifest import seal
from trainer.models import FAMILIES
from trainer.predict import PREDICTORS, predictor_class
from trainer.predict.__main__ import main
from trainer.predict.inputs import find_files, find_texts
from trainer.predict.loading import load_model, read_config
from trainer.predict.predictor import BadInput, Predictor
from trainer.predict.table import render
from trainer.tensor_files import write_tensors


class Lengths(Predictor):
    """Multiplies the length of a text by the model's weight."""

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        for text in inputs:
            yield {"input": str(text), "score": self.model(torch.tensor([[float(len(str(text)))]])).item()}


def one_weight(size: int) -> nn.Module:
    return nn.Linear(size, size, bias=False)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(PREDICTORS, "lengths", f"{__name__}:Lengths")
    monkeypatch.setitem(FAMILIES, "one-weight", f"{__name__}:one_weight")
    folder = tmp_path / "package"
    folder.mkdir()
    write_tensors(folder / "model.safetensors", {"weight": torch.tensor([[2.0]])})
    write_config(folder)
    return folder


def write_config(folder: Path, **changes: Any) -> None:
    config = {"format": 2, "recipe": "lengths", "architecture": {"family": "one-weight", "size": 1}, **changes}
    (folder / "config.json").write_text(json.dumps(config))
    seal(folder, {})


def predict(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    main()


def test_json_lines_and_a_table(package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    predict(monkeypatch, package, "four", "--json")
    assert json.loads(capsys.readouterr().out) == {"input": "four", "score": 8.0}

    predict(monkeypatch, package, "four")
    assert capsys.readouterr().out.splitlines() == ["input   score", "-----  ------", "four   8.0000"]


def test_a_changed_byte_is_found_before_anything_is_loaded(package: Path) -> None:
    with (package / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x07")

    with pytest.raises(BadInput, match=r"no whole package.*SHA-256"):
        read_config(package)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 1}, "has format 1; this trainer reads format 2"),
        ({"architecture": {"family": "unheard-of"}}, "unknown family 'unheard-of'"),
        ({"architecture": {"family": "one-weight", "size": 2}}, "weights do not fit"),
        ({"recipe": "weather"}, "no predictor for recipe 'weather'"),
    ],
)
def test_packages_that_cannot_be_used_say_why(
    package: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    write_config(package, **changes)

    with pytest.raises(BadInput, match=message) as caught:
        predict(monkeypatch, package, "text")
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there(package: Path) -> None:
    with pytest.raises(BadInput, match="no device cuda:77"):
        load_model(package, read_config(package), "cuda:77")


def test_the_program_ends_with_two_and_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainer.predict", str(tmp_path / "nowhere"), "text"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path}/nowhere is no folder\n"


def test_files_of_a_folder_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.png", "notes.txt", "deep/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert [path.name for path in find_files(str(tmp_path), (".png", ".jpg"))] == ["a.png", "b.PNG", "c.jpg"]
    with pytest.raises(BadInput, match=r"no file that ends in \.wav"):
        find_files(str(tmp_path), (".wav",))
    with pytest.raises(BadInput, match=r"notes\.txt does not end in"):
        find_files(str(tmp_path / "notes.txt"), (".png",))
    with pytest.raises(BadInput, match="does not exist"):
        find_files(str(tmp_path / "d.png"), (".png",))


def test_texts_are_lines_of_files_or_what_was_typed(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("first\n\n second \n", "utf-8")
    (tmp_path / "two.txt").write_text("third", "utf-8")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")

    assert find_texts(str(tmp_path / "one.txt")) == ["first", " second "]
    assert find_texts("what a film " * 500) == ["what a film " * 500]
    with pytest.raises(BadInput, match=r"latin\.txt is not UTF-8"):
        find_texts(str(tmp_path / "latin.txt"))
    with pytest.raises(BadInput, match="empty"):
        find_texts("  ")


def test_a_table_cuts_what_is_too_long_and_shows_lists() -> None:
    text = render([{"input": "x" * 100, "tags": ["a", "b"]}, {"input": "y\nz", "score": 0.25}])

    assert max(map(len, text.splitlines())) < 100
    assert "a, b" in text
    assert "y⏎z" in text
    assert text.splitlines()[-1].endswith("0.2500")


def test_every_predictor_in_the_registry_is_one() -> None:
    for recipe in PREDICTORS:
        assert issubclass(predictor_class(recipe), Predictor)

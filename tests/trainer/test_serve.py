"""``python -m trainer.predict.serve``: packages of every kind answer over pipes what they answer offline; bad rows and bad frames."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.frames import BadFrame
from tests.bed.waiting import until
from tests.e2e import tiny_data
from tests.trainer.launching import Launch, WarmParent
from tests.trainer.serving import Served
from trainer.predict import predictor_class
from trainer.predict.loading import load_model, read_config
from trainer.predict.serve import read_batch

SPECS: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "tabular": (tiny_data.measurements, {"training": {"epochs": 6}}),
    "image-classification": (
        tiny_data.images,
        {"model": {"family": "resnet", "width": 4}, "training": {"epochs": 1, "batch_size": 16}},
    ),
    "text-classification": (tiny_data.labelled_texts, {"training": {"epochs": 2, "batch_size": 16}}),
    "recommendation": (
        tiny_data.ratings,
        {"model": {"family": "matrix-factorization", "width": 4}, "training": {"epochs": 2, "batch_size": 32}},
    ),
    "speech-recognition": (
        tiny_data.speech,
        {
            "model": {"family": "conv-transformer", "width": 16, "num_layers": 1, "num_heads": 2, "convolution": 0},
            "data": {"num_mels": 16},
            "training": {"epochs": 1, "batch_size": 8, "frequency_masks": 0, "time_masks": 0},
        },
    ),
}  # fmt: skip
Package = Callable[[str], Path]


@pytest.fixture(scope="module")
def package(warm_parent: WarmParent, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package of a short training of this recipe, made once."""
    root, made = tmp_path_factory.mktemp("packages"), {}

    def make(recipe: str) -> Path:
        if recipe not in made:
            write, spec = SPECS[recipe]
            folder = root / recipe
            folder.mkdir()
            attempt = Launch(folder / "runs", warm_parent, write(folder))(
                {"recipe": recipe, "dataset": {"path": "/x"}, **spec}, num_ranks=1
            )
            attempt.run()
            assert attempt.weights()
            made[recipe] = attempt.run_dir.artifacts
        return made[recipe]

    return make


def offline(folder: Path, inputs: list[Any]) -> list[dict[str, Any]]:
    config = read_config(folder)
    predictor = predictor_class(config["recipe"])(folder, config, load_model(folder, config, "cpu"))
    with torch.inference_mode():
        return [{name: value for name, value in row.items() if name != "input"} for row in predictor.predict(inputs)]


def predictions(results: list[dict[str, Any]]) -> list[Any]:
    assert all(set(result) == {"prediction"} for result in results), results
    return [result["prediction"] for result in results]


def alike(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """The same words; numbers to what the size of a batch may change in their last digits."""
    return len(one) == len(other) and all(
        set(a) == set(b) and all(a[name] == (pytest.approx(b[name], abs=1e-4) if not isinstance(b[name], str) else b[name]) for name in a)
        for a, b in zip(one, other, strict=True)
    )


def test_rows_of_a_table(package: Package, tmp_path: Path) -> None:
    folder = package("tabular")
    rows: list[Any] = [
        {"weight": "4.1", "age": "3", "island": "north"},
        {"weight": 401, "age": None, "island": "south"},
        {"weight": 7.5, "age": 2, "island": "nowhere", "name": "\u00e9"},
    ]
    table = tiny_data.write_lines(tmp_path / "rows.jsonl", rows)
    with Served(folder).started() as served:
        assert alike(predictions(served.ask(rows)), offline(folder, [table]))


def test_a_bad_row_is_its_own_error_and_no_neighbours(package: Package) -> None:
    """A column that only a neighbour has is not there; nor do bytes, texts, lists and numbers pass for rows."""
    good = {"weight": 4.1, "age": 3, "island": "north"}
    rows: list[Any] = [good, {**good, "weight": "heavy"}, {"age": 3, "island": "north"}, "text", [1], 5, None, {}, {"blob": 0}, good]
    with Served(package("tabular")).started() as served:
        results = served.ask(rows)
        assert predictions([results[0], results[9]]) == predictions(served.ask([good, good]))
        assert results[0] == results[9]
        assert "column weight" in results[1]["error"]
        assert "there is no column 'weight'" in results[2]["error"]
        assert all("takes objects" in results[number]["error"] for number in (3, 4, 5, 6, 7))
        assert "there is no column" in results[8]["error"]
        assert not any("/" in result.get("error", "") for result in results), "a path of the server"


def test_images_are_bytes_and_each_has_its_own_error(package: Package, tmp_path: Path) -> None:
    folder = package("image-classification")
    rng = np.random.default_rng(5)
    images = [tiny_data.image(name, rng) for name in ("left", "top")]
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(image)
    with Served(folder).started() as served:
        results = served.ask([None, None, None, "left"], images[0], images[1][:100], images[1], files=(0, 1, 2))
        assert alike(predictions([results[0], results[2]]), offline(folder, paths))
        assert "error" in results[1]
        assert "takes images" in results[3]["error"]


def test_recordings_are_bytes(package: Package, tmp_path: Path) -> None:
    folder = package("speech-recognition")
    tiny_data.write_tone(tmp_path / "a.wav", 300)
    with Served(folder).started() as served:
        results = served.ask([None, None], (tmp_path / "a.wav").read_bytes(), b"RIFF", files=(0, 1))
        assert predictions(results[:1]) == offline(folder, [tmp_path / "a.wav"])
        assert "error" in results[1]


def test_texts_are_strings_or_objects(package: Package) -> None:
    folder = package("text-classification")
    texts = ["a splendid book and lovely", "an awful film and dull"]
    with Served(folder).started() as served:
        results = served.ask([texts[0], {"text": texts[1]}, "  ", {"words": 1}, {"text": 5}, 7])
        assert alike(predictions(results[:2]), offline(folder, texts))
        assert all("error" in result for result in results[2:])


def test_a_user_without_an_item_gets_several_predictions(package: Package, tmp_path: Path) -> None:
    folder = package("recommendation")
    rows = [{"user_id": "4"}, {"user_id": "4", "item_id": "102"}]
    best, one = (offline(folder, [tiny_data.write_lines(tmp_path / f"{number}.jsonl", [row])]) for number, row in enumerate(rows))
    with Served(folder).started() as served:
        found = predictions(served.ask(rows))
    assert found == [{"predictions": best}, {"predictions": one}]
    assert len(best) > 1


def test_frames_that_belong_together_are_predicted_together_and_answered_apart(package: Package) -> None:
    good = {"weight": 4.1, "age": 3, "island": "north"}
    with Served(package("tabular")).started() as served:
        served.write({"id": "a", "rows": [good, good], "more": True})
        served.write({"id": "b", "rows": ["bad"], "more": True})
        served.write({"id": "c", "rows": [good]})
        answers = [served.read() for _ in range(3)]
    assert [answer["id"] for answer in answers] == ["a", "b", "c"]
    assert [len(answer["results"]) for answer in answers] == [2, 1, 1]
    assert {answer["batch_size"] for answer in answers} == {4}


@pytest.mark.parametrize(
    "header",
    [b"{]", b"{}", b'{"rows"', b'{"rows": {}}', b'{"rows":[1],"files":[9],"blobs":[0]}', b'{"rows":[1],"files":[0]}'],
)
def test_frames_without_rows_or_with_other_files_than_they_list_are_broken(header: bytes) -> None:
    source, sink = os.pipe()
    os.write(sink, len(header).to_bytes(4, "big") + header)
    os.close(sink)
    with pytest.raises(BadFrame):
        read_batch(source)
    os.close(source)


def test_a_broken_frame_ends_the_process_with_three(package: Package) -> None:
    with Served(package("tabular")).started() as served:
        assert served.process.stdin is not None
        served.process.stdin.write(b"\xff\xff\xff\xff")
        served.process.stdin.flush()
        assert served.code() == 3


def test_the_end_of_the_input_ends_the_process(package: Package) -> None:
    with Served(package("tabular")).started() as served:
        assert served.process.stdin is not None
        served.process.stdin.close()
        assert served.code() == 0


def test_what_is_no_package_is_told_in_a_frame(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"format": 2, "recipe": "tabular", "architecture": {"family": "tabular-mlp"}}')
    with Served(tmp_path) as served:
        assert "no whole package" in served.read()["failure"]
        assert served.code() == 2


def test_it_dies_with_its_parent(package: Package, tmp_path: Path) -> None:
    """kill -9 of the parent, whose end of the pipes somebody else still holds."""
    script = (
        "import os, subprocess, sys; "
        "child = subprocess.Popen([sys.executable, '-m', 'trainer.predict.serve', sys.argv[1], '--parent', str(os.getpid())], "
        "stdin=0, stdout=1); "
        "open(sys.argv[2], 'w').write(str(child.pid)); os.kill(os.getpid(), 9) if os.read(3, 1) else None"
    )
    answers, answers_in = os.pipe()
    go, go_in = os.pipe()
    source, source_in = os.pipe()
    note = tmp_path / "pid"
    parent = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", script, str(package("tabular")), str(note)],
        dict(os.environ),
        file_actions=[(os.POSIX_SPAWN_DUP2, source, 0), (os.POSIX_SPAWN_DUP2, answers_in, 1), (os.POSIX_SPAWN_DUP2, go, 3)],
    )
    os.close(answers_in)
    assert os.read(answers, 1 << 16), "it is ready"
    child = os.pidfd_open(int(note.read_text()))
    os.write(go_in, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == -signal.SIGKILL
    until(lambda: not os.read(answers, 1 << 16), within=10, what="the child has closed its end")
    for fd in (answers, go, go_in, source, source_in, child):
        os.close(fd)

"""Folders and archives of images prepared: divided, balanced, copied with changes, and hostile names refused."""

import zipfile
from pathlib import Path

from core.recipes.dataset_validation import Data as ValidationData
from tests.trainer.made_up_files import picture, pictures
from tests.trainer.preparing import Steps, files_of, prepared, refusal
from trainer.data.images.decode import header_of
from trainer.profile.profiling import profile_dataset


def test_images_are_split_balanced_and_augmented(tmp_path: Path) -> None:
    root = pictures(tmp_path / "in", 20)
    (root / "red" / "twin.png").write_bytes((root / "red" / "1.png").read_bytes())
    for extra in range(20, 30):
        (root / "red" / f"{extra}.png").write_bytes(picture(2 * extra, (200, 30, 30)))
    steps: Steps = [
        {"do": "drop_duplicates"},
        {"do": "split", "by": "stratified", "test": 0.2, "validation": 0.1},
        {"do": "balance", "how": "under"},
        {"do": "augment", "images": {"flip": True, "crop": 0.7, "rotate": 20}, "copies": 2},
    ]
    results = [prepared(root, tmp_path / f"out{number}", steps, seed=seed) for number, seed in enumerate((1, 1, 2))]
    written = [files_of(tmp_path / f"out{number}" / "data") for number in range(3)]
    assert written[0] == written[1]
    assert written[0] != written[2]
    assert results[0].splits == {"train": 14 * 2 * 3, "validation": 5, "test": 10}
    assert [step.rows_out for step in results[0].steps] == [50, 50, 43, 99]
    assert {name.split("/")[0] for name in written[0]} == {"train", "validation", "test"}
    assert {header_of(content)[:2] for content in written[0].values()} == {(6, 8)}
    found = profile_dataset(tmp_path / "out0" / "data", ValidationData(), lambda done, total: None)
    assert (found.valid, found.splits, found.leaks) == (True, results[0].splits, [])


def test_an_archive_of_images_becomes_folders_and_hostile_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "a.zip", "w") as archive:
        for number in range(8):
            archive.writestr(f"../../{('red', 'blue')[number % 2]}/{number}.png", picture(number, (1, 2, 3)))
    prepared(tmp_path / "in", tmp_path / "out", [{"do": "sample", "rows": 4}])
    assert [name.split("/")[0] for name in files_of(tmp_path / "out" / "data")] == ["blue", "blue", "red", "red"]
    with zipfile.ZipFile(tmp_path / "in" / "a.zip", "a") as archive:
        archive.writestr("re\u202ed/9.png", picture(9, (1, 2, 3)))
    assert "cannot be kept" in refusal(tmp_path / "in", tmp_path / "no", [{"do": "drop_duplicates"}])[0]


def test_an_image_that_cannot_be_changed_is_named_and_nothing_stays(tmp_path: Path) -> None:
    root = pictures(tmp_path / "in", 3)
    (root / "red" / "1.png").write_bytes(b"no image")
    problems = refusal(root, tmp_path / "out", [{"do": "augment", "images": {"rotate": 5}}])
    assert problems == ["red/1.png: it is not an image in a format that is known here"]


def test_steps_for_tables_are_refused_for_images(tmp_path: Path) -> None:
    steps: Steps = [
        {"do": "normalise", "columns": ["a"]},
        {"do": "split", "by": "time", "column": "when"},
        {"do": "balance", "label": "class"},
        {"do": "augment", "text": {"column": "t", "swap": 0.1}},
        {"do": "sample", "rows": 2, "stratified_by": "label"},
    ]
    problems = refusal(pictures(tmp_path / "in"), tmp_path / "out", steps)
    assert [problem.partition(":")[0][:13] for problem in problems] == [f"/data/steps/{number}" for number in range(4)]

"""Recordings and their table prepared: equal sounds, lengths, groups of speakers, changed copies, and what cannot be read named."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.datasets.preparable import described
from core.recipes import parse_spec
from core.recipes.dataset_preparation import DatasetPreparationSpec
from core.recipes.preparable import problems_of
from core.recipes.speech_recognition import Data as SpeechData
from tests.core.made_archives import make_zip
from tests.trainer.made_up_files import RATE, recordings, write_csv, write_parquet, zipped
from tests.trainer.preparing import Steps, files_of, is_reproducible, prepared, profiled, refusal
from trainer.data.audio import decode
from trainer.data.findings import Findings
from trainer.data.speech_listing import list_speech
from trainer.prepare.unpacking import without_archive
from trainer.tools.telling import Pace, StopAsked


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """24 tones by six speakers, one of them twice and one that lasts two seconds."""
    root = recordings(tmp_path / "in", 24)
    (root / "twin.wav").write_bytes((root / "5.wav").read_bytes())
    soundfile.write(root / "long.wav", 0.2 * np.sin(np.arange(2 * RATE)), RATE)
    rows = [["file_name", "text", "speaker"], *([f"{number}.wav", f"tone {number}", f"s{number % 6}"] for number in range(24))]
    write_csv(root / "metadata.csv", [*rows, ["twin.wav", "tone 5", "s5"], ["long.wav", "long", "s0"]])
    return root


STEPS: Steps = [
    {"do": "drop_duplicates"},
    {"do": "drop_by_length", "unit": "seconds", "min": 0.1, "max": 1},
    {"do": "split", "by": "group", "column": "speaker", "test": 0.17, "validation": 0.17},
    {"do": "augment", "audio": {"speed": 0.1, "noise": 20}, "copies": 2},
]


def test_recordings_are_cleaned_split_by_speaker_and_copied_with_changes(spoken: Path, tmp_path: Path) -> None:
    done = prepared(spoken, tmp_path / "out", STEPS, seed=1)
    assert [step.rows_out for step in done.steps] == [25, 24, 24, 56]
    assert done.splits == {"train": 48, "validation": 4, "test": 4}
    written = files_of(tmp_path / "out" / "data")
    tables = {split: rows_of(written[f"{split}.csv"]) for split in done.splits}
    speakers = [{row["speaker"] for row in rows} for rows in tables.values()]
    assert sum(map(len, speakers)) == 6, "no speaker stands in two splits"
    assert {"long.wav"} == {name for name in ("twin.wav", "long.wav", "5.wav") if name not in written} - {"twin.wav"}
    first, *copies = tables["train"][:3]
    waves = [decode(written[row["file_name"]], max_seconds=9)[0] for row in (first, *copies)]
    assert {row["text"] for row in copies} == {first["text"]}
    assert len({len(wave) for wave in waves}) == 3, "each copy is faster or slower"
    assert all(0.9 < len(wave) / len(waves[0]) < 1.12 for wave in waves)
    listing, read = list_speech(tmp_path / "out" / "data", SpeechData(), Findings())
    assert len(listing.names) == 56
    assert all(read(name) for name in listing.names)
    found = profiled(tmp_path / "out" / "data")
    assert (found.valid, found.task, found.splits, found.leaks) == (True, "speech-recognition", done.splits, [])


def test_noise_is_as_loud_as_asked(spoken: Path, tmp_path: Path) -> None:
    prepared(spoken, tmp_path / "out", [{"do": "sample", "rows": 1}, {"do": "augment", "audio": {"noise": 10}}])
    written = files_of(tmp_path / "out" / "data")
    original, copy = (decode(written[row["file_name"]], max_seconds=9)[0] for row in rows_of(written["data.csv"]))
    noise = copy - original
    assert 10 * np.log10(np.square(original).mean() / np.square(noise).mean()) == pytest.approx(10, abs=0.5)


def test_recordings_are_the_same_bytes_in_every_process(spoken: Path, tmp_path: Path) -> None:
    assert is_reproducible(spoken, tmp_path / "out", STEPS)


def test_what_cannot_be_heard_is_named_by_file_row_and_column_or_left_out(spoken: Path, tmp_path: Path) -> None:
    (spoken / "3.wav").write_bytes(b"RIFF")
    (spoken / "4.wav").unlink()
    (tmp_path / "outside.wav").write_bytes((spoken / "5.wav").read_bytes())
    table = (spoken / "metadata.csv").read_text()
    (spoken / "metadata.csv").write_text(table + "../outside.wav,away,s1\n")
    problems = refusal(spoken, tmp_path / "no", STEPS)
    assert [problem.split(":")[0] for problem in problems[:3]] == [f"metadata.csv, row {row}, column file_name" for row in (5, 6, 28)]
    done = prepared(spoken, tmp_path / "out", STEPS[:2], on_bad_rows="drop")
    assert (done.num_rows_left_out, done.rows_in, done.rows_out) == (3, 24, 22)


def test_recordings_that_stand_in_the_table_are_copied_into_it(spoken: Path, tmp_path: Path) -> None:
    sounds = [{"bytes": (spoken / f"{number}.wav").read_bytes(), "path": f"{number}.wav"} for number in (0, 1, 1, 2)]
    write_parquet(tmp_path / "table" / "a.parquet", {"audio": sounds, "text": ["a", "b", "b", "c"]})
    done = prepared(tmp_path / "table", tmp_path / "out", [STEPS[0], {"do": "augment", "audio": {"speed": 0.2}}])
    assert [step.rows_out for step in done.steps] == [3, 6]
    found = profiled(tmp_path / "out" / "data")
    assert (found.valid, found.num_rows, found.num_duplicates) == (True, 6, 0)


def test_an_archive_becomes_what_its_folder_becomes(spoken: Path, tmp_path: Path) -> None:
    """Also with a folder around everything, and what some systems add."""
    made = prepared(spoken, tmp_path / "out", STEPS, seed=1)
    litter = {"__MACOSX/words/._metadata.csv": b"\0", "words/.DS_Store": b"\0"}
    for name, below, more in (("plain", "", {}), ("wrapped", "words/", litter)):
        archive = zipped(spoken, tmp_path / name / "words.zip", below=below, more=more)
        for root, out in ((archive.parent, f"{name}-folder"), (archive, f"{name}-file")):
            assert prepared(root, tmp_path / out, STEPS, seed=1) == made
            assert files_of(tmp_path / out / "data") == files_of(tmp_path / "out" / "data")


def test_what_is_known_of_an_archive_refuses_no_step_for_its_recordings(spoken: Path, tmp_path: Path) -> None:
    found = profiled(zipped(spoken, tmp_path / "words.zip"))
    assert (found.valid, found.format, found.task) == (True, "audio-archive", "speech-recognition")
    of_images = {"do": "augment", "images": {"flip": True}}
    spec = parse_spec(json.dumps({"recipe": "dataset-preparation", "dataset": {"path": "/d"}, "data": {"steps": [*STEPS, of_images]}}))
    assert isinstance(spec, DatasetPreparationSpec)
    refused = problems_of(spec.data.steps, described(found, spec.data.steps))
    assert [number for number, _ in refused] == [len(STEPS)]


def test_the_table_of_an_archive_is_decoded_after_it_is_unpacked(spoken: Path, tmp_path: Path) -> None:
    table = (spoken / "metadata.csv").read_text().replace("tone 7", "größe")
    (spoken / "metadata.csv").write_bytes(table.encode("cp1252"))
    archive = zipped(spoken, tmp_path / "words.zip")
    done = prepared(archive, tmp_path / "out", [{"do": "fix_encoding"}, *STEPS[:2]])
    assert (done.steps[0].num_changed, done.steps[0].fitted) == (1, {"files": {"metadata.csv": "cp1252"}})
    assert "größe" in files_of(tmp_path / "out" / "data")["data.csv"].decode()


def test_what_cannot_be_heard_in_an_archive_is_named_as_in_a_folder(spoken: Path, tmp_path: Path) -> None:
    (spoken / "3.wav").write_bytes(b"RIFF")
    (spoken / "4.wav").unlink()
    archive = zipped(spoken, tmp_path / "words.zip")
    assert refusal(archive, tmp_path / "no", STEPS) == refusal(spoken, tmp_path / "neither", STEPS)
    done = prepared(archive, tmp_path / "out", STEPS[:2], on_bad_rows="drop")
    assert (done.num_rows_left_out, done.rows_in, done.rows_out) == (2, 24, 22)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"../0.wav": b"1"}, r"words.zip: entry '../0.wav': path must be relative"),
        ({"/0.wav": b"1"}, r"words.zip: entry '/0.wav': path must be relative"),
        ({"0.wav": b"1", "0.WAV": b"2"}, "differ in case alone"),
        ({"0.wav": b"1", "transcripts.txt": b"zero"}, "no table in it names its recordings"),
    ],
)
def test_an_archive_that_breaks_a_rule_is_refused_whole(entries: dict[str, bytes], message: str, tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "words.zip", entries)
    (problem,) = refusal(archive, tmp_path / "out", STEPS)
    assert message in problem
    assert {path.name for path in tmp_path.iterdir()} == {"words.zip", "out"}
    left = files_of(tmp_path / "out")
    assert set(left) == ({"scratch/unpacked/0.wav", "scratch/unpacked/transcripts.txt"} if "transcripts.txt" in entries else set())


def test_recordings_in_several_archives_are_refused(spoken: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        zipped(spoken, tmp_path / "both" / f"{part}.zip")
    assert "several archives" in refusal(tmp_path / "both", tmp_path / "out", STEPS)[0]


def test_a_preparation_that_is_stopped_while_it_unpacks_leaves_nothing(spoken: Path, tmp_path: Path) -> None:
    archive = zipped(spoken, tmp_path / "words.zip")
    told = 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        told += 1
        if told == 20:
            raise StopAsked

    with pytest.raises(StopAsked):
        without_archive(archive, tmp_path / "scratch" / "unpacked", Pace(tell).tick)
    assert files_of(tmp_path / "scratch") == {}

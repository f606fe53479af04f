"""Speech recognition: tables of recordings in folders and archives, the network, and whole attempts on made-up words of tones."""

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch

from core.recipes.speech_recognition import Data, Training
from core.states import Reason
from tests.trainer.launching import Launch, WarmParent
from trainer.data.findings import Findings
from trainer.data.speech_corpus import SpeechCorpus, load_speech, prepare
from trainer.data.speech_inputs import BandStatistics, SpeechInputs, fit_statistics, padded
from trainer.data.speech_listing import list_speech
from trainer.errors import InvalidData
from trainer.models import build
from trainer.predict import predictor_class
from trainer.predict.loading import load_model, read_config
from trainer.tasks.speech_architecture import output_lengths

RATE = 8000
HZ = {"a": 400, "b": 900, "c": 1600}
WORDS = ("ab", "ba", "ca", "bc")


def spoken(word: str, seed: int) -> npt.NDArray[np.float32]:
    """A tone for each letter, a little noise, and silence between."""
    random = np.random.default_rng(seed)
    silence = np.zeros(300)
    parts = [silence]
    for letter in word:
        length = int(random.integers(700, 1000))
        parts += [np.sin(2 * np.pi * HZ[letter] * random.uniform(0.95, 1.05) * np.arange(length) / RATE), silence]
    wave = np.concatenate(parts)
    return (0.3 * wave + 0.01 * random.normal(size=len(wave))).astype(np.float32)


def make(folder: Path, num: int = 96) -> Path:
    """``metadata.csv`` beside a folder of recordings, every eighth of which is for the test."""
    (folder / "wavs").mkdir(parents=True)
    rows = [["file_name", "transcription", "split"]]
    for number in range(num):
        word = WORDS[number % len(WORDS)]
        name = f"wavs/{number}.{'flac' if number % 5 == 0 else 'wav'}"
        soundfile.write(folder / name, spoken(word, number), RATE)
        rows.append([name, word.upper(), "test" if number % 8 >= 6 else "train"])
    write(folder / "metadata.csv", rows)
    return folder


def write(path: Path, rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("speech") / "words")


def corpus_of(root: Path, out: Path, speeds: tuple[float, ...] = (1.0,), **knobs: Any) -> SpeechCorpus:
    out.mkdir()
    prepare(root, Data(**knobs), out, speeds=speeds, as_waves=False)
    return load_speech(out)


def test_a_folder_and_its_archive_hold_the_same(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "words.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder))

    one, other = corpus_of(folder, tmp_path / "one"), corpus_of(tmp_path / "words.zip", tmp_path / "other")

    assert (len(one), one.hearing.rate, one.column("text")[:2]) == (96, RATE, ["ab", "ba"])
    assert one.utterances == other.utterances
    assert np.array_equal(one.values[0], other.values[0])
    assert one.column("part").count("test") == 24
    assert one.heard(7).shape == (1 + len(spoken("bc", 7)) // 80, 64)
    assert isinstance(one.values[0], np.memmap)


def test_recordings_may_stand_in_folders_of_splits_and_in_the_table_itself(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / "d" / part).mkdir(parents=True)
        soundfile.write(tmp_path / "d" / part / "x.wav", spoken("ab", 0), RATE)
        write(tmp_path / "d" / part / "metadata.csv", [["file", "text"], ["x.wav", "ab"]])
    listing, read = list_speech(tmp_path / "d", Data(), Findings())
    assert sorted(zip(listing.names, listing.parts, strict=True)) == [("test/x.wav", "test"), ("train/x.wav", "train")]
    assert read("train/x.wav") == (tmp_path / "d" / "train" / "x.wav").read_bytes()

    import pyarrow as pa  # noqa: PLC0415  # why: this one test alone needs it
    import pyarrow.parquet as pq  # noqa: PLC0415  # why: the same

    sound = io.BytesIO()
    soundfile.write(sound, spoken("ba", 1), RATE, format="WAV")
    (tmp_path / "p").mkdir()
    pq.write_table(pa.table({"audio": [{"bytes": sound.getvalue(), "path": None}], "text": ["ba"]}), tmp_path / "p" / "a.parquet")
    listing, read = list_speech(tmp_path / "p", Data(), Findings())
    assert read(listing.names[0]) == sound.getvalue()


def test_everything_that_is_wrong_is_said_with_its_place(tmp_path: Path) -> None:
    root = make(tmp_path / "w", 12)
    (root / "wavs" / "1.wav").write_bytes(b"no sound")
    (root / "wavs" / "2.wav").unlink()
    soundfile.write(root / "wavs" / "3.wav", np.zeros(0), RATE)
    with (root / "metadata.csv").open("a") as file:
        file.write("../../secret.wav,ab,train\nwavs/4.wav,,train\n")

    with pytest.raises(InvalidData) as refusal:
        corpus_of(root, tmp_path / "out")
    for said in (
        "metadata.csv, row 3: wavs/1.wav: it is no sound that can be read",
        "metadata.csv, row 4: wavs/2.wav: there is no such file",
        "metadata.csv, row 5: wavs/3.wav: it holds no sound",
        "metadata.csv, row 14, column file_name: it names no recording inside the dataset",
        "metadata.csv, row 15, column transcription: it is empty",
    ):
        assert said in str(refusal.value)
    kept = corpus_of(root, tmp_path / "dropped", on_bad_rows="drop")
    assert len(kept) == 9
    assert kept.report["rows_dropped"] == 5


def test_other_rates_are_resampled_and_speeds_change_lengths(tmp_path: Path) -> None:
    root = make(tmp_path / "w", 8)
    soundfile.write(root / "wavs" / "1.wav", np.repeat(spoken("ba", 1), 2), 2 * RATE)

    corpus = corpus_of(root, tmp_path / "out", speeds=(0.5, 1.0))

    assert corpus.hearing.rate == RATE, "the most frequent one"
    assert len(corpus.heard(1, 1)) == pytest.approx(1 + len(spoken("ba", 1)) // 80, abs=1)
    assert corpus.lengths(0) == pytest.approx(2 * corpus.lengths(1), abs=2)


def test_inputs_are_normalised_and_augmented_alike_in_any_company(folder: Path, tmp_path: Path) -> None:
    corpus = corpus_of(folder, tmp_path / "out", speeds=(0.9, 1.0, 1.1))
    rows = np.arange(10)
    inputs = SpeechInputs(corpus, BandStatistics(), Training(noise=0.5), own_speed=1)
    plain, lengths = inputs.plain(rows)

    assert plain[3, : lengths[3]].mean(0).abs().max() < 1e-5
    assert plain[3, : lengths[3]].std(0, correction=0) == pytest.approx(np.ones(64), abs=1e-4)
    assert plain[3, lengths[3] :].abs().max() == 0 if lengths[3] < lengths.max() else True
    first, first_lengths = inputs.augmented(rows, seed=0, epoch=1)
    alone, alone_lengths = inputs.augmented(rows[4:5], seed=0, epoch=1)
    assert alone_lengths[0] == first_lengths[4]
    assert torch.equal(alone[0], first[4, : alone_lengths[0]])
    assert len({tuple(inputs.augmented(rows, seed=0, epoch=epoch)[1].tolist()) for epoch in range(4)}) == 4
    statistics = fit_statistics(corpus, rows, 1)
    assert statistics.mean is not None
    everything = np.concatenate([corpus.heard(row, 1) for row in rows.tolist()])
    assert statistics.mean.numpy() == pytest.approx(everything.mean(0), abs=1e-4)


@pytest.mark.parametrize("subsampling", [1, 2, 4])
def test_padding_and_company_change_nothing(subsampling: int) -> None:
    sizes = {"num_mels": 12, "num_outputs": 5, "width": 16, "num_layers": 2, "num_heads": 2, "subsampling": subsampling, "convolution": 3}
    architecture = {"family": "conv-transformer", **sizes}
    torch.manual_seed(0)
    model = build(architecture).eval()
    features, lengths = padded([torch.randn(size, 12) for size in (21, 9, 30)])

    logits = model(features, lengths)

    frames = output_lengths(architecture, lengths)
    assert logits.shape == (3, frames[2].item(), 5)
    for row in range(3):
        alone = model(features[row : row + 1, : lengths[row]], lengths[row : row + 1])
        assert torch.allclose(alone[0], logits[row, : frames[row]], atol=1e-5)


def test_lengths_of_what_hears_waves() -> None:
    """The convolutions of wav2vec2: 400 samples make the first frame, 320 more each further one."""
    config = {"conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2]}

    found = output_lengths({"family": "transformers", "config": config}, torch.tensor([100, 400, 719, 720, 16000]))

    assert found.tolist() == [0, 1, 1, 2, 49]


SPEC: dict[str, Any] = {
    "recipe": "speech-recognition",
    "dataset": {"path": "/as/given"},
    "data": {"num_mels": 24, "validation_fraction": 0.15},
    "model": {"width": 32, "num_layers": 1, "num_heads": 2, "subsampling": 2, "convolution": 5, "dropout": 0.05},
    "training": {
        "epochs": 12,
        "batch_size": 8,
        "learning_rate": 0.005,
        "warmup_epochs": 1,
        "time_masks": 0,
        "frequency_masks": 1,
        "frequency_mask_share": 0.1,
        "speeds": [0.95, 1.0],
        "noise": 0.3,
    },
    "checkpoints": {"every_steps": 10},
    "deterministic": True,
}


@pytest.fixture
def launch_speech(tmp_path: Path, warm_parent: WarmParent, folder: Path) -> Launch:
    return Launch(root=tmp_path, parent=warm_parent, data_dir=folder)


def test_two_ranks_learn_to_spell_and_the_package_understands_new_recordings(launch_speech: Launch, tmp_path: Path) -> None:
    attempt = launch_speech(SPEC).run()

    assert attempt.weights()
    assert attempt.series("test_wer")[-1] <= 0.1
    artifacts = attempt.run_dir.artifacts
    paths = []
    for number, word in enumerate(WORDS):
        paths.append(tmp_path / f"{word}.wav")
        soundfile.write(paths[-1], spoken(word, 1000 + number), RATE)
    config = read_config(artifacts)
    predictor = predictor_class("speech-recognition")(artifacts, config, load_model(artifacts, config, "cpu"))
    with torch.inference_mode():
        found = [row["text"] for row in predictor.predict(paths)]
    assert sum(one == other for one, other in zip(found, WORDS, strict=True)) >= 3
    with (artifacts / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert sum(row["text"] == row["prediction"] for row in rows) >= 22


def test_promise_08_a_kill_and_a_resume_give_the_same_weights(launch_speech: Launch) -> None:
    spec = {**SPEC, "training": {**SPEC["training"], "epochs": 4}}
    assert launch_speech.killed_and_resumed(spec, after=14).weights() == launch_speech(spec).run().weights()


def test_recordings_too_short_for_their_texts_are_bad_rows(tmp_path: Path, warm_parent: WarmParent) -> None:
    root = make(tmp_path / "w", 24)
    lines = (root / "metadata.csv").read_text().splitlines()
    (root / "metadata.csv").write_text("\n".join([*lines[:-1], f"{lines[-1].split(',')[0]},{'cab ' * 20},train"]))
    launch = Launch(root=tmp_path, parent=warm_parent, data_dir=root)

    attempt = launch(SPEC).run()

    assert "frames are too few to spell its text, which needs 79" in attempt.expect(Reason.INVALID_DATA).message


def test_a_transformers_model_that_hears_waves_learns_and_is_packaged(launch_speech: Launch) -> None:
    config = {
        "model_type": "wav2vec2",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": [16, 16],
        "conv_kernel": [10, 4],
        "conv_stride": [8, 4],
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
    }
    spec = {**SPEC, "model": {"family": "transformers", "config": config}, "training": {"epochs": 1, "batch_size": 8}}

    attempt = launch_speech(spec).run()

    assert attempt.weights()
    written = json.loads((attempt.run_dir.artifacts / "config.json").read_text())
    assert written["trainyard"]["labels"] == ["a", "b", "c"]
    assert written["vocab_size"] == 4

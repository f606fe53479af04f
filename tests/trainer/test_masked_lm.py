"""masked-language-modeling: what it learns, that ranks and resuming change nothing, and what starts from its package."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from core.states import Reason
from tests.trainer.launching import Attempt, Launch, WarmParent
from tests.trainer.tiny_texts import write_lines, write_reviews
from trainer.predict.loading import load_model, read_config
from trainer.predict.masked_language_modeling import Predictor
from trainer.predict.predictor import BadInput
from trainer.tensor_files import read_tensors

SPEC: dict[str, Any] = {
    "recipe": "masked-language-modeling",
    "dataset": {"path": "/data"},
    "data": {"packing": "lines", "tokenizer": {"kind": "word", "min_frequency": 1, "max_length": 16}},
    "model": {"width": 32, "num_layers": 2, "num_heads": 2, "dropout": 0.0},
    "training": {"epochs": 12, "batch_size": 16, "learning_rate": 0.01, "masked_share": 0.3, "schedule": "constant"},
    "deterministic": True,
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, warm_parent: WarmParent) -> Launch:
    folder = tmp_path_factory.mktemp("masked")
    write_lines(folder / "data" / "texts.txt", 240)
    return Launch(root=folder, parent=warm_parent, data_dir=folder / "data")


@pytest.fixture(scope="module")
def straight(start: Launch) -> Attempt:
    attempt = start(SPEC).run()
    attempt.expect(Reason.COMPLETED)
    return attempt


def test_it_learns_what_is_masked_and_fills_it_in(straight: Attempt) -> None:
    folder = straight.run_dir.artifacts
    config = read_config(folder)
    predictor = Predictor(folder, config, load_model(folder, config, "cpu"))

    assert straight.series("test_accuracy")[-1] > 0.8
    assert straight.series("test_perplexity")[-1] == pytest.approx(float(torch.tensor(straight.series("test_loss")[-1]).exp()))
    with torch.inference_mode():
        (found,) = predictor.predict(["warm warm [MASK] warm warm warm"])
    assert found["text"] == "warm warm warm warm warm warm"
    assert found["candidates"][0][0][0] == "warm"
    with pytest.raises(BadInput, match=r"no \[MASK\]"), torch.inference_mode():
        list(predictor.predict(["warm"]))


def test_two_ranks_learn_what_one_learns(start: Launch, straight: Attempt) -> None:
    """Masked tokens are weighed alike however rows are shared, and masks come from the row and not from who has it."""
    one = start(SPEC, num_ranks=1).run()

    assert one.series("loss")[:20] == pytest.approx(straight.series("loss")[:20], rel=1e-3)
    assert one.series("validation_loss")[0] == pytest.approx(straight.series("validation_loss")[0], rel=1e-3)


@pytest.mark.parametrize("knobs", [{"strategy": "fsdp"}, {"tensor_parallel": 2}, {"accumulate": 2, "activation_checkpointing": True}])
def test_however_ranks_share_the_model_it_learns_the_same(knobs: dict[str, Any], start: Launch, straight: Attempt) -> None:
    attempt = start({**SPEC, "deterministic": False, "training": {**SPEC["training"], **knobs, "max_steps": 10}}).run()
    attempt.expect(Reason.COMPLETED)

    assert attempt.series("loss")[:10] == pytest.approx(straight.series("loss")[:10], rel=1e-3)


def test_promise_08_a_kill_and_a_resume_give_the_same_weights(start: Launch, straight: Attempt) -> None:
    second = start.killed_and_resumed({**SPEC, "checkpoints": {"every_steps": 10}}, after=25, victim="rank")
    assert second.weights() == straight.weights()


def test_blocks_of_a_table_with_several_micro_batches(tmp_path: Path, warm_parent: WarmParent) -> None:
    """Rows of 16 tokens out of reviews of about eight; the steps' losses do not depend on how a step is cut."""
    write_reviews(tmp_path / "data" / "reviews.jsonl", 120)
    launch = Launch(root=tmp_path, parent=warm_parent, data_dir=tmp_path / "data")
    spec = {**SPEC, "data": {"tokenizer": {"kind": "word", "max_length": 16}}}
    whole, cut = (launch({**spec, "training": {"epochs": 2, "batch_size": 16, "accumulate": n}}).run() for n in (1, 4))

    assert whole.series("loss") == pytest.approx(cut.series("loss"), rel=1e-3)
    report = json.loads((whole.run_dir.artifacts / "data_report.json").read_text())
    assert 50 < report["splits"]["train"] < 75, "of 96 reviews, packed"


def test_a_classifier_starts_from_the_package(straight: Attempt, tmp_path: Path, warm_parent: WarmParent) -> None:
    """Nothing of the encoder moves where only the head is trained: its weights are those of the package, by name."""
    write_reviews(tmp_path / "data.jsonl", 120)
    spec = {
        "recipe": "text-classification",
        "dataset": {"path": "/data"},
        "base_model": {"path": "/m"},
        "model": {"family": "encoder", "width": 128},
        "fine_tuning": {"train": "head"},
        "training": {"epochs": 1, "batch_size": 16},
    }
    launch = Launch(root=tmp_path, parent=warm_parent, data_dir=tmp_path / "data.jsonl")
    attempt = launch(spec, base_model_dir=straight.run_dir.artifacts).run()
    attempt.expect(Reason.COMPLETED)

    base, found = (read_tensors(run.run_dir.artifacts / "model.safetensors") for run in (straight, attempt))
    encoder = [name for name in base if name.startswith("encoder.")]
    assert encoder
    assert all(torch.equal(base[name], found[name]) for name in encoder)
    assert [name for name in found if name not in base] != []
    tokenizers = [(run.run_dir.artifacts / "tokenizer.json").read_bytes() for run in (attempt, straight)]
    assert tokenizers[0] == tokenizers[1]

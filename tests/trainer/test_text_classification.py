"""text-classification: its networks, real attempts on small data, what is packaged, and predicting with it."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import InvalidInput
from core.recipes import parse_spec
from core.states import Reason
from tests.trainer.launching import Attempt, Launch, WarmParent
from tests.trainer.tiny_texts import review, write_reviews
from trainer.models import build
from trainer.predict.inputs import find_inputs
from trainer.predict.loading import load_model, read_config
from trainer.predict.predictor import BadInput
from trainer.predict.text_classification import Predictor

SPEC: dict[str, Any] = {
    "recipe": "text-classification",
    "dataset": {"path": "/data"},
    "data": {"tokenizer": {"min_frequency": 1, "max_length": 24}},
    "model": {"family": "text-cnn", "embedding": 16, "channels": 8},
    "training": {"epochs": 4, "batch_size": 16, "learning_rate": 0.01, "token_dropout": 0.1, "swap": 0.1, "span_masking": 0.1},
    "deterministic": True,
    "resources": {"devices_per_node": 2, "accelerator": "cpu"},
}
SMALL: dict[str, dict[str, Any]] = {
    "text-cnn": {"embedding": 16, "channels": 8},
    "lstm": {"embedding": 16, "width": 16},
    "gru": {"embedding": 16, "width": 16, "num_layers": 2, "pooling": "last"},
    "encoder": {"width": 32, "num_layers": 2},
    "transformers": {
        "config": {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    },
}


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reviews")
    write_reviews(folder / "train.jsonl", 160)
    write_reviews(folder / "validation.jsonl", 24, seed=1)
    write_reviews(folder / "test.jsonl", 31, seed=2)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, warm_parent: WarmParent, reviews: Path) -> Launch:
    return Launch(root=tmp_path_factory.mktemp("texts"), parent=warm_parent, data_dir=reviews)


@pytest.fixture(scope="module")
def straight(start: Launch) -> Attempt:
    attempt = start(SPEC).run()
    attempt.expect(Reason.COMPLETED)
    return attempt


ONE_RANK = {"devices_per_node": 1, "accelerator": "cpu"}


def with_family(family: str) -> dict[str, Any]:
    epochs = 8 if family in ("encoder", "transformers") else 4
    return {**SPEC, "model": {"family": family, **SMALL[family]}, "training": {**SPEC["training"], "epochs": epochs, "span_masking": 0.0}}


def predictor_of(folder: Path) -> Predictor:
    config = read_config(folder)
    return Predictor(folder, config, load_model(folder, config, "cpu"))


def predicted(folder: Path, inputs: list[Any]) -> list[dict[str, Any]]:
    with torch.inference_mode():
        return list(predictor_of(folder).predict(inputs))


def newest(attempt: Attempt) -> Path:
    path, _ = attempt.run_dir.newest_verified_checkpoint()
    assert path is not None
    return path


@pytest.mark.parametrize(
    "architecture",
    [
        *({"family": "text-cnn", "widths": [1, 2, 5], "pooling": pooling} for pooling in ("max", "sum", "both")),
        *({"family": "recurrent", "cell": "lstm", "pooling": pooling, "num_layers": 2} for pooling in ("max", "mean", "last")),
        {"family": "recurrent", "cell": "gru", "bidirectional": False, "pooling": "last"},
    ],
)
def test_padding_changes_nothing_in_a_network(architecture: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build({**architecture, "vocab_size": 50, "num_classes": 3}).eval()
    ids, lengths = torch.randint(5, 50, (4, 9)), torch.tensor([9, 5, 2, 1])
    mask = torch.arange(9) < lengths[:, None]
    ids = ids * mask
    logits = model(ids, mask)

    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(model(ids[row : row + 1, :length], mask[row : row + 1, :length])[0], logits[row])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_recurrent_network_computes_what_torchs_packed_one_computes(cell: str) -> None:
    torch.manual_seed(0)
    model = build(
        {"family": "recurrent", "cell": cell, "vocab_size": 50, "num_classes": 3, "embedding": 8, "width": 6, "pooling": "last"}
    ).eval()
    theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](8, 6, batch_first=True, bidirectional=True)
    ours = model.blocks[0].state_dict()
    theirs.load_state_dict({name.split(".")[1] + ("_reverse" if name.startswith("back") else ""): tensor for name, tensor in ours.items()})
    lengths = torch.tensor([7, 4, 2])
    mask = torch.arange(7) < lengths[:, None]
    ids = torch.randint(5, 50, (3, 7)) * mask
    packed = torch.nn.utils.rnn.pack_padded_sequence(model.tokens(ids), lengths, batch_first=True)
    last = theirs(packed)[1]
    states = last[0] if cell == "lstm" else last

    torch.testing.assert_close(model(ids, mask), model.head(torch.cat([states[0], states[1]], dim=1)))


@pytest.mark.parametrize("family", ["lstm", "gru", "encoder", "transformers"])
def test_every_family_learns_and_predicts_from_its_package(family: str, start: Launch) -> None:
    attempt = start({**with_family(family), "resources": ONE_RANK}, num_ranks=1).run()
    attempt.expect(Reason.COMPLETED)

    assert attempt.series("test_accuracy")[-1] > 0.8
    found = predicted(attempt.run_dir.artifacts, ["a great and lovely film", "a dull and awful story"])
    assert [row["label"] for row in found] == ["good", "bad"]
    assert sum(found[0]["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_the_package_says_what_was_found(straight: Attempt, reviews: Path) -> None:
    folder = straight.run_dir.artifacts
    config, metrics = (json.loads((folder / name).read_text()) for name in ("config.json", "metrics.json"))
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert straight.series("test_accuracy")[-1] > 0.9
    assert config["labels"] == ["bad", "good"]
    assert len(rows) == 31
    assert [row["text"] for row in rows] == [json.loads(line)["sentence"] for line in (reviews / "test.jsonl").read_text().splitlines()]
    accuracy = sum(row["label"] == row["prediction"] for row in rows) / 31
    assert metrics["test"]["accuracy"] == pytest.approx(accuracy) == pytest.approx(straight.series("test_accuracy")[-1])
    assert sum(map(sum, metrics["confusion"]["counts"])) == 31
    assert metrics["per_class"]["good"]["rows"] == 15
    probability = [float(row["probability"]) for row in rows]
    found = predicted(folder, [row["text"] for row in rows])
    assert [row["probability"] for row in found] == pytest.approx(probability, abs=1e-5)


def test_the_exported_program_takes_texts_of_any_length(straight: Attempt) -> None:
    program = torch.export.load(straight.run_dir.artifacts / "model.pt2").module()
    predictor = predictor_of(straight.run_dir.artifacts)
    for shape in ((1, 3), (5, 24)):
        ids = torch.randint(5, 20, shape)
        torch.testing.assert_close(program(ids, torch.ones_like(ids).bool()), predictor.model(ids, torch.ones_like(ids).bool()))


def test_two_ranks_learn_what_one_learns(start: Launch, straight: Attempt) -> None:
    """The same rows and the same augmentation in each step, for both come from the row and not from who has it."""
    spec = {**SPEC, "model": {**SPEC["model"], "dropout": 0.0, "embedding_dropout": 0.0}}
    one, two = start({**spec, "resources": ONE_RANK}, num_ranks=1).run(), start(spec).run()

    assert one.series("loss") == pytest.approx(two.series("loss"), rel=1e-3)
    assert one.series("test_accuracy") == two.series("test_accuracy")


def test_promise_08_a_kill_and_a_resume_give_the_same_weights(start: Launch, straight: Attempt) -> None:
    second = start.killed_and_resumed({**SPEC, "checkpoints": {"every_steps": 7}}, after=12, victim="rank")
    assert second.weights() == straight.weights()


def test_pairs_of_texts_are_learned_and_told_apart(tmp_path: Path, warm_parent: WarmParent) -> None:
    """The first texts say one thing and the second another, and the second one is right."""
    draw = random.Random(0)
    rows = [{"text1": review(draw, row % 3 == 0), "text2": review(draw, row % 2 == 0), "label": (row + 1) % 2} for row in range(160)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    launch = Launch(root=tmp_path, parent=warm_parent, data_dir=tmp_path / "pairs.json")
    attempt = launch({**with_family("encoder"), "resources": ONE_RANK}, num_ranks=1).run()
    attempt.expect(Reason.COMPLETED)

    assert attempt.series("test_accuracy")[-1] > 0.8
    found = predicted(attempt.run_dir.artifacts, ["a great film\ta dull story", "a dull story\ta great film"])
    assert tuple(found[0][name] for name in ("input", "pair", "label")) == ("a great film", "a dull story", "0")
    assert found[1]["label"] == "1"
    with pytest.raises(BadInput, match="wants pairs"):
        predicted(attempt.run_dir.artifacts, ["a great film"])


def test_texts_are_typed_or_come_in_files(straight: Attempt, reviews: Path, tmp_path: Path) -> None:
    folder = straight.run_dir.artifacts
    (tmp_path / "lines.txt").write_text("a great film\n\na dull film\n")
    (tmp_path / "rows.csv").write_text('sentence,id\n"great, lovely",1\n')
    found = {
        given: [row["input"] for row in predicted(folder, find_inputs(given, Predictor.suffixes, or_texts=Predictor.or_texts))]
        for given in ("a film", str(tmp_path / "lines.txt"), str(tmp_path / "rows.csv"))
    }

    assert list(found.values()) == [["a film"], ["a great film", "a dull film"], ["great, lovely"]]
    assert len(predicted(folder, [reviews / "test.jsonl"])) == 31


def test_a_base_model_of_another_family_is_refused(start: Launch, straight: Attempt) -> None:
    for family, said in (("encoder", "the base model is text-cnn"), ("lstm", "the base model is of family text-cnn")):
        attempt = start({**with_family(family), "base_model": {"path": "/m"}}, base_model_dir=straight.run_dir.artifacts).run()
        assert said in attempt.expect(Reason.INVALID_DATA).message


def test_another_run_starts_from_a_package_with_its_tokenizer(start: Launch, straight: Attempt) -> None:
    spec = {**SPEC, "base_model": {"path": "/m"}, "data": {"tokenizer": {"kind": "char"}}, "model": {"family": "text-cnn"}}
    spec["training"] = {**SPEC["training"], "epochs": 1, "learning_rate": 1e-5}
    attempt = start(spec, base_model_dir=straight.run_dir.artifacts).run()
    attempt.expect(Reason.COMPLETED)

    tokenizers = [(run.run_dir.artifacts / "tokenizer.json").read_bytes() for run in (attempt, straight)]
    assert tokenizers[0] == tokenizers[1]
    assert attempt.series("validation_accuracy")[0] == pytest.approx(max(straight.series("validation_accuracy")), abs=0.05)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"model": {"family": "encoder", "width": 30, "num_heads": 4}}, "/model"),
        ({"model": {"family": "transformers"}}, ""),
        ({"model": {"family": "bert"}}, "/model"),
        ({"training": {"batch_size": 15}}, ""),
        ({"training": {"adversarial": {"method": "pgd"}}}, ""),
        ({"data": {"tokenizer": {"kind": "syllables"}}}, "/data/tokenizer/kind"),
    ],
)
def test_specs_that_cannot_be_trained_are_refused(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInput) as found:
        parse_spec(json.dumps({**SPEC, **change}))

    assert found.value.problems[0].pointer == pointer

"""token-classification: sentences are read and checked, and whole attempts find the names in them."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification

from core.recipes.sections.text import TokenizerKnobs
from core.recipes.token_classification import Data
from core.states import Reason
from tests.trainer.launching import Attempt, Launch, WarmParent
from trainer.data.findings import Findings
from trainer.data.tagged import TaggedWords, read_tagged_words
from trainer.data.text.vocabularies import train_tokenizer
from trainer.data.words import UNKNOWN, TokenReader, WordReader
from trainer.entity_scores import entity_scores
from trainer.errors import InvalidData
from trainer.evaluation import in_row_order, texts_in_row_order
from trainer.models.tagger import RecurrentTagger
from trainer.parallel import Ranks
from trainer.predict import predictor_class
from trainer.predict.loading import load_model, read_config
from trainer.tagging import ask
from trainer.tasks.task import IGNORED

PEOPLE, PLACES, VERBS = ("Ann", "Bob Stone", "Cy"), ("New Town", "Oslo"), ("likes", "leaves")


def sentences() -> list[dict[str, Any]]:
    """Every person with every verb and place, several times."""
    rows = []
    for number in range(5):
        for person in PEOPLE:
            for verb in VERBS:
                for place in PLACES:
                    words = [(word, "person") for word in person.split()], [(verb, "")], [(word, "place") for word in place.split()]
                    tokens = [word for part in words for word, _ in part] + ["!"] * (number % 3)
                    tags = [
                        f"{'B' if first == 0 else 'I'}-{kind}" if kind else "O" for part in words for first, (_, kind) in enumerate(part)
                    ]
                    rows.append({"tokens": tokens, "ner_tags": tags + ["O"] * (number % 3)})
    return rows


BILSTM: dict[str, Any] = {
    "recipe": "token-classification",
    "dataset": {"path": "/data"},
    "model": {"embedding": 16, "character_embedding": 8, "character_channels": 8, "width": 12, "dropout": 0.1},
    "training": {"epochs": 6, "batch_size": 8, "learning_rate": 0.03},
    "checkpoints": {"every_steps": 7},
    "deterministic": True,
    "resources": {"devices_per_node": 2, "accelerator": "cpu"},
}


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(root: Path, **knobs: Any) -> TaggedWords:
    return read_tagged_words(root, Data(**knobs), seed=0, findings=Findings())


def problems_of(root: Path, **knobs: Any) -> str:
    with pytest.raises(InvalidData) as caught:
        read(root, **knobs)
    return "\n".join(caught.value.problems)


def test_tags_are_read_by_name_and_by_number_with_names_beside(tmp_path: Path) -> None:
    rows = sentences()
    named = read(written(tmp_path / "named.jsonl", rows))
    assert named.names == ["O", "B-person", "I-person", "B-place", "I-place"]
    folder = tmp_path / "numbered"
    folder.mkdir()
    names = ["B-place", "I-place", "O", "B-person", "I-person"]
    (folder / "labels.json").write_text(json.dumps(names))
    written(folder / "data.jsonl", [{"tokens": row["tokens"], "tags": [names.index(tag) for tag in row["ner_tags"]]} for row in rows])
    numbered = read(folder)
    assert numbered.names == named.names
    assert all(np.array_equal(one, other) for one, other in zip(named.tags, numbered.tags, strict=True))


def test_conll_columns_are_sentences_between_empty_lines(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- O\n\nAnn NNP B-person\nleaves VBZ O\n\n\nOslo NNP B-place\nSpa NNP I-place\n"
    (tmp_path / "train.conll").write_text(text + "\n" + "Bob\tB-person\n\n" * 3)
    (tmp_path / "dev.conll").write_text("Cy B-person\n")
    (tmp_path / "test.conll").write_text("Cy O")
    data = read(tmp_path)
    train = [data.words[row] for row in data.splits.train]
    assert train[:3] == [["Ann", "leaves"], ["Oslo", "Spa"], ["Bob"]]
    assert data.named(data.tags[data.splits.train[1]]) == ["B-place", "I-place"]
    assert [len(data.splits.validation), len(data.splits.test)] == [1, 1]


def test_what_is_wrong_is_said_at_once_with_file_and_row(tmp_path: Path) -> None:
    wrong = [
        {"tokens": ["a", "b"], "ner_tags": ["O"]},
        {"tokens": ["a", "b"], "ner_tags": ["O", "I-person"]},
        {"tokens": ["a", "b"], "ner_tags": ["B-place", "I-person"]},
        {"tokens": ["a"], "ner_tags": ["NOUN"]},
        {"tokens": [], "ner_tags": []},
        {"tokens": ["a"], "ner_tags": "O"},
        {"tokens": ["a"], "ner_tags": [1]},
    ]
    path = written(tmp_path / "data.jsonl", [*wrong, *sentences()])
    told = problems_of(path)
    expected = [
        "it has 2 tokens and 1 tags",
        "tag 2, I-person, continues nothing: O stands before it",
        "tag 2, I-person, continues nothing: B-place",
        "tag 1, 'NOUN', is none of O, B-type and I-type",
        "column tokens is not a list of words",
        "it is str, not a list of tags",
        "tags are numbers, and there is no labels.json",
    ]
    for row, problem in enumerate(expected, 1):
        assert f"data.jsonl, row {row}" in told
        assert problem in told
    assert len(read(path, on_bad_rows="drop").words) == len(sentences())


def test_a_type_that_training_lacks_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "train.jsonl", sentences())
    written(tmp_path / "test.jsonl", [{"tokens": ["x"], "ner_tags": ["B-film"]}])
    assert "the test split has tags that the training split lacks: 'B-film'" in problems_of(tmp_path)


def test_iob1_begins_entities_with_i(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b", "c", "d"], "tags": ["I-x", "I-x", "B-x", "I-y"]}] * 5
    data = read(written(tmp_path / "data.jsonl", rows), scheme="iob1")
    assert data.named(data.tags[0]) == ["B-x", "I-x", "B-x", "B-y"]


def test_words_and_letters_become_numbers_and_come_back_from_disk(tmp_path: Path) -> None:
    knobs = TokenizerKnobs(min_frequency=2, max_length=4)
    reader = WordReader.learn([["The", "cat"], ["the", "dog", "2021"], ["1999"]], knobs)
    batch = reader.read([["THE", "bird"], ["1234", "the", "the", "the", "cut"]])
    the, year = reader.words["the"], reader.words["0000"]
    assert batch["words"].tolist() == [[the, UNKNOWN, 0, 0], [year, the, the, the]]
    assert batch["mask"].tolist() == [[True, True, False, False], [True] * 4]
    assert batch["letters"][0, 0].tolist() == [reader.letters["T"], UNKNOWN, UNKNOWN, 0]
    reader.save(tmp_path)
    assert WordReader.load(tmp_path) == reader


def test_a_words_first_token_is_its_place() -> None:
    tokenizer = train_tokenizer("wordpiece", ["ab abc"] * 3, 300, min_frequency=9)  # letters alone
    batch = TokenReader(tokenizer, 8).read([["ab", " ", "c"], ["abc", "abc", "abc"]])
    assert batch["firsts"].tolist() == [[1, 1, 3], [1, 4, -1]], "the third word of the second row is cut"
    assert batch["mask"].sum(1).tolist() == [5, 8]


def test_padding_changes_neither_loss_nor_tags() -> None:
    torch.manual_seed(0)
    model = RecurrentTagger(
        num_words=9, num_characters=9, num_types=2, embedding=4, character_embedding=4, character_channels=4,
        width=4, num_layers=2, dropout=0.0, crf=True,
    )  # fmt: skip
    torch.nn.init.normal_(model.transitions)  # type: ignore[arg-type]
    words, letters = torch.randint(1, 9, (1, 3)), torch.randint(1, 9, (1, 3, 4))
    short = {"words": words, "letters": letters, "mask": torch.ones(1, 3, dtype=torch.bool)}
    padded = {
        "words": torch.nn.functional.pad(words, (0, 2)),
        "letters": torch.nn.functional.pad(letters, (0, 3, 0, 2)),
        "mask": torch.tensor([[True, True, True, False, False]]),
    }
    labels = torch.tensor([[1, 2, 0]])
    one, other = ask(model, short), ask(model, padded)
    torch.testing.assert_close(one.loss(labels), other.loss(torch.nn.functional.pad(labels, (0, 2), value=IGNORED)))
    assert one.tags().tolist()[0] == other.tags().tolist()[0][:3]


def test_texts_and_tensors_of_ranks_come_back_in_order() -> None:
    ranks = Ranks(rank=0, world_size=3, device=torch.device("cpu"))
    assert texts_in_row_order(["0", "3", "6", "1", "4", "2", "5"], ranks) == list("0123456")
    assert in_row_order(torch.tensor([0, 3, 6, 1, 4, 2, 5]), ranks).tolist() == list(range(7))


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("ner") / "data.jsonl", sentences())


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, warm_parent: WarmParent, data_file: Path) -> Attempt:
    attempt = Launch(root=tmp_path_factory.mktemp("bilstm"), parent=warm_parent, data_dir=data_file)(BILSTM).run()
    attempt.expect(Reason.COMPLETED)
    return attempt


def test_two_ranks_find_the_names_and_package_what_they_found(straight: Attempt) -> None:
    result, package = straight.result(), straight.run_dir.artifacts
    assert result is not None
    assert result.metrics["test_f1"] > 0.9
    with (package / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    true, told = ([json.loads(row[column]) for row in rows] for column in ("tags", "prediction"))
    overall, per_type = entity_scores(true, told)
    assert result.metrics["test_f1"] == pytest.approx(overall["f1"])
    assert json.loads((package / "metrics.json").read_text())["per_type"] == per_type
    assert (package / "model.pt2").exists()


def test_the_predictor_tells_where_entities_stand(straight: Attempt) -> None:
    package = straight.run_dir.artifacts
    config = read_config(package)
    predictor = predictor_class(config["recipe"])(package, config, load_model(package, config, "cpu"))
    (row,) = predictor.predict(["Bob Stone leaves New Town!"])
    assert row["entities"] == [
        {"type": "person", "text": "Bob Stone", "start": 0, "end": 9},
        {"type": "place", "text": "New Town", "start": 17, "end": 25},
    ]


def test_promise_08_a_kill_and_a_resume_give_the_same_weights(launch: Launch, straight: Attempt, data_file: Path) -> None:
    launch.data_dir = data_file
    assert launch.killed_and_resumed(BILSTM, after=1).weights() == straight.weights()


def test_an_encoder_learns_by_the_first_tokens_of_words(launch: Launch, data_file: Path) -> None:
    launch.data_dir = data_file
    model = {"family": "encoder", "width": 16, "num_layers": 1, "num_heads": 2, "dropout": 0.0, "head_dropout": 0.0}
    spec = {**BILSTM, "model": model, "data": {"tokenizer": {"vocab_size": 300}}, "training": {**BILSTM["training"], "learning_rate": 0.01}}
    attempt = launch(spec).run()
    attempt.expect(Reason.COMPLETED)
    result = attempt.result()
    assert result is not None
    assert result.metrics["test_f1"] > 0.8
    assert (attempt.run_dir.artifacts / "tokenizer.json").exists()


def test_a_model_of_the_transformers_library_is_trained_packaged_and_asked(launch: Launch, data_file: Path) -> None:
    launch.data_dir = data_file
    config = {"model_type": "bert", "num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    spec = {**BILSTM, "model": {"family": "transformers", "config": {**config, "max_position_embeddings": 64}}}
    spec |= {"data": {"tokenizer": {"vocab_size": 300}}, "training": {**BILSTM["training"], "max_steps": 3}}
    attempt = launch(spec, num_ranks=1).run()
    attempt.expect(Reason.COMPLETED)
    package = attempt.run_dir.artifacts
    theirs = AutoModelForTokenClassification.from_pretrained(package)
    assert theirs.config.id2label[1] == "B-person"
    read = read_config(package)
    predictor: Any = predictor_class(read["recipe"])(package, read, load_model(package, read, "cpu"))
    batch = predictor.reader.read([["Bob", "Stone"]])
    expected = theirs.eval()(input_ids=batch["ids"], attention_mask=batch["mask"].long()).logits
    torch.testing.assert_close(predictor.model(batch["ids"], batch["mask"]), expected)
    assert len(predictor.tags([["Bob", "Stone"]])[0]) == 2

"""A tiny package of every recipe, trained when it is first asked for and once in a session, with the data that it learned from."""

import csv
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.states import Reason
from tests.e2e import tiny_data
from tests.trainer.launching import Attempt, Launch, WarmParent

ENCODER = {"family": "encoder", "width": 32, "num_layers": 1, "num_heads": 2}
BERT = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
GPT2 = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 32}
SHORT = {"tokenizer": {"max_length": 32}}


@dataclass(frozen=True)
class Case:
    recipe: str
    data: Callable[[Path], Path]
    spec: dict[str, Any]


def with_numbers(root: Path) -> Path:
    """``heights.csv``: a number that follows from two others."""
    rows = [(number % 17, "ab"[number % 2], round(3.5 * (number % 17) + 10 * (number % 2), 2)) for number in range(120)]
    return tiny_data.write_csv(root / "heights.csv", [("age", "kind", "height"), *rows])


CASES: dict[str, Case] = {
    "image-classification": Case(
        "image-classification", tiny_data.images, {"model": {"family": "resnet", "width": 4}, "training": {"epochs": 3, "batch_size": 16}}
    ),
    "tabular": Case("tabular", tiny_data.measurements, {"training": {"epochs": 4}}),
    "tabular-numbers": Case("tabular", with_numbers, {"data": {"target_column": "height"}, "training": {"epochs": 4}}),
    "text-classification": Case(
        "text-classification", tiny_data.labelled_texts, {"data": SHORT, "model": ENCODER, "training": {"epochs": 2, "batch_size": 16}}
    ),
    "text-gru": Case(
        "text-classification",
        tiny_data.labelled_texts,
        {"data": SHORT, "model": {"family": "gru", "embedding": 8, "width": 8}, "training": {"epochs": 2, "batch_size": 16}},
    ),
    "text-bert": Case(
        "text-classification",
        tiny_data.labelled_texts,
        {"data": SHORT, "model": {"family": "transformers", "config": BERT}, "training": {"epochs": 1, "batch_size": 16}},
    ),
    "token-classification": Case(
        "token-classification",
        tiny_data.tagged_texts,
        {
            "model": {"family": "bilstm", "embedding": 16, "character_channels": 8, "width": 8},
            "training": {"epochs": 3, "batch_size": 16, "learning_rate": 1e-2},
        },
    ),
    "token-encoder": Case(
        "token-classification", tiny_data.tagged_texts, {"data": SHORT, "model": ENCODER, "training": {"epochs": 2, "batch_size": 16}}
    ),
    "masked-language-modeling": Case(
        "masked-language-modeling", tiny_data.texts, {"data": {"packing": "lines", **SHORT}, "model": ENCODER, "training": {"epochs": 1}}
    ),
    "causal-language-modeling": Case(
        "causal-language-modeling",
        tiny_data.texts,
        {
            "model": {"family": "gpt", "num_layers": 1, "num_heads": 2, "width": 16},
            "data": {"tokenizer": "char", "context_length": 32},
            "training": {"epochs": 1, "max_steps": 10},
            "evaluation": {"sample_tokens": 2},
        },
    ),
    "causal-gpt2": Case(
        "causal-language-modeling",
        tiny_data.texts,
        {
            "model": {"family": "transformers", "config": GPT2},
            "data": {"tokenizer": "char", "context_length": 32},
            "training": {"epochs": 1, "max_steps": 10},
            "evaluation": {"sample_tokens": 2},
        },
    ),
    "speech-recognition": Case(
        "speech-recognition",
        tiny_data.speech,
        {
            "model": {"family": "conv-transformer", "width": 16, "num_layers": 1, "num_heads": 2, "convolution": 3},
            "data": {"num_mels": 16},
            "training": {"epochs": 8, "batch_size": 8, "learning_rate": 1e-2, "frequency_masks": 0, "time_masks": 0},
        },
    ),
    "recommendation": Case(
        "recommendation",
        tiny_data.ratings,
        {"model": {"width": 4, "vector_l2": 0.1}, "training": {"epochs": 4, "batch_size": 64, "learning_rate": 5e-2}},
    ),
    "recommendation-ranked": Case(
        "recommendation",
        tiny_data.ratings,
        {
            "data": {"feedback": "implicit", "liked_from": 3.0},
            "model": {"family": "two-tower", "width": 4},
            "training": {"epochs": 4, "batch_size": 64, "learning_rate": 5e-2},
        },
    ),
}


@dataclass(frozen=True)
class Trained:
    """``folder`` is the package, ``data`` what it was trained on."""

    recipe: str
    folder: Path
    data: Path

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def predictions(self) -> list[dict[str, str]]:
        with (self.folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@dataclass
class Packages:
    root: Path
    parent: WarmParent
    made: dict[str, Trained] = field(default_factory=dict)

    def __call__(self, name: str) -> Trained:
        if name not in self.made:
            case, folder = CASES[name], self.root / name
            folder.mkdir()
            (folder / "data").mkdir()
            data = case.data(folder / "data")
            launch = Launch(root=folder, parent=self.parent, data_dir=data)
            attempt = launch({"recipe": case.recipe, "dataset": {"path": str(data)}, **case.spec}, num_ranks=1).run()
            attempt.expect(Reason.COMPLETED)
            self.made[name] = Trained(case.recipe, attempt.run_dir.artifacts, data)
        return self.made[name]

    def start(self, recipe: str, trained: Trained, rows: Path | None, root: Path, **spec: Any) -> Attempt:
        """An attempt of a tool on a package, and on a dataset."""
        launch = Launch(root=root, parent=self.parent, data_dir=rows)
        named = {"dataset": {"path": str(rows)}} if rows is not None else {}
        whole = {"recipe": recipe, "base_model": {"path": str(trained.folder)}, **named, **spec}
        return launch(whole, num_ranks=1, base_model_dir=trained.folder).start()

    def use(self, recipe: str, trained: Trained, rows: Path | None, root: Path, **spec: Any) -> Attempt:
        """The same, until it has ended."""
        return self.start(recipe, trained, rows, root, **spec).wait()


def rows_of_the_test(trained: Trained, folder: Path) -> Path:
    """A dataset of nothing but the rows that the package was tested on, in the form of its training data."""
    folder.mkdir()
    if trained.recipe == "token-classification":
        (folder / "all.jsonl").write_bytes((trained.data / "test.jsonl").read_bytes())
        return folder
    if trained.recipe == "image-classification":
        kept = {row["file"].partition(".zip/")[2] for row in trained.predictions()}
        with zipfile.ZipFile(trained.data) as source, zipfile.ZipFile(folder / "some.zip", "w") as target:
            for member in sorted(kept):
                target.writestr(member, source.read(member))
        return folder
    table = trained.data if trained.data.is_file() else trained.data / "metadata.csv"
    with table.open(newline="") as file:
        header, *rows = csv.reader(file)
    if trained.recipe == "speech-recognition":
        (folder / "wavs").symlink_to(trained.data / "wavs")
        files = {row["file"] for row in trained.predictions()}
        rows = [row for row in rows if row[0] in files]
    else:
        rows = [rows[int(row["row"])] for row in trained.predictions()]
    with (folder / table.name).open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return folder

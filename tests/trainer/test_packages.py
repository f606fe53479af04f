"""The package of any recipe: what is in it, that the exported program is the model, and that nothing half-made passes for one."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core.manifest import MANIFEST, verify
from core.recipes import parse_spec
from core.run_dir import RunDir, RunFile
from trainer.errors import ExportDiffers
from trainer.metrics import Reporter
from trainer.package import Export, Package, write_package
from trainer.package.export import export_program
from trainer.package.tables import write_predictions
from trainer.parallel import Ranks
from trainer.state import Best, Run, Score, State
from trainer.stop import StopFlag
from trainer.tasks import task

SCORE = Score(metrics={"loss": 0.5, "accuracy": 0.75}, num_rows=4)


class Reader(nn.Module):
    """Tokens and a mask in; a dictionary out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.places = nn.Embedding(16, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        states = self.embedding(tokens) + self.places(torch.arange(tokens.shape[1]))
        return {"logits": self.head((states * mask[..., None]).sum(1)), "length": mask.sum(1)}


class Moody(nn.Module):
    """Computes something else once it is exported: export runs the training branch of nothing, but bakes this constant in."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return images * self.calls


def export_of(reader_rows: int = 4) -> Export:
    tokens = torch.arange(reader_rows * 5).reshape(reader_rows, 5) % 20
    axes = {0: "batch", 1: "time<=16"}
    return Export((tokens, torch.ones_like(tokens)), {"tokens": axes, "mask": axes})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    data = tmp_path / "data"
    data.mkdir()
    (data / "rows.csv").write_text("a,b\n1,2\n")
    run_dir = RunDir.create(tmp_path / "run")
    spec = parse_spec(json.dumps({"recipe": "scripted", "name": "a | b", "seed": 7}))
    file = RunFile(job_id="job_1", attempt=2, spec=spec, device="cpu", data_dir=str(data))
    reporter = Reporter(run_dir, speaks=True)
    for step in range(1, 9):
        reporter.log.add(step, {"loss": 1 / step, "learning_rate": 0.1})
    reporter.log.add(8, {"validation_loss": 0.2, "validation_accuracy": 0.8})
    return Run(file=file, dir=run_dir, ranks=Ranks(0, 1, torch.device("cpu")), stop=StopFlag(), report=reporter)


@pytest.fixture
def state() -> State:
    return State(step=8, epoch=2, seconds=3.0, best=Best(step=8, epoch=1, score=SCORE))


def package_of(run: Run, state: State, **more: object) -> Path:
    confusion = (["no", 'y"e,s'], np.array([[2, 0], [1, 1]]))
    package = Package(
        config={"format": 2, "recipe": "scripted", "architecture": {"family": "x"}},
        predictions={"row": [3, 5], "text": ['say "hi", twice\nplease', "é"], "tags": [["B-x", "O"], []]},
        confusion=confusion,
        data_report={"counts": {"duplicates dropped": 1}, "splits": {"train": 1000, "test": 4}},
        facts={"Vocabulary": "20 tokens"},
        **more,  # type: ignore[arg-type]
    )
    write_package(run, Reader().eval(), state, task.Tested(score=SCORE, more={"errors": 1}), package)
    return run.dir.artifacts


def test_everything_that_a_package_promises_is_in_it_and_sealed(run: Run, state: State) -> None:
    folder = package_of(run, state, export=export_of(), files=lambda folder: (folder / "vocabulary.txt").write_text("a") and None)

    assert [file.path for file in verify(folder).files] == [
        *("README.md", "config.json", "confusion.csv", "data_report.json", "metrics.json", "model.pt2"),
        *(f"plots/{name}.{kind}" for name in ("confusion", "learning_rate", "loss", "metrics") for kind in ("png", "svg")),
        *("predictions.csv", "vocabulary.txt"),
    ]


def test_metrics_hold_the_scores_the_costs_and_what_the_recipe_adds(run: Run, state: State) -> None:
    metrics = json.loads((package_of(run, state) / "metrics.json").read_text())

    assert metrics["test"] == {"loss": 0.5, "accuracy": 0.75, "num_rows": 4}
    assert metrics["best"] == {"step": 8, "epoch": 2}
    assert (metrics["errors"], metrics["device_seconds"]) == (1, 3.0)
    assert metrics["confusion"]["counts"] == [[2, 0], [1, 1]]


def test_tables_survive_commas_quotes_and_line_ends(run: Run, state: State) -> None:
    folder = package_of(run, state)
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    with (folder / "confusion.csv").open(encoding="utf-8", newline="") as file:
        confusion = list(csv.reader(file))

    assert first == {"row": "3", "text": 'say "hi", twice\nplease', "tags": '["B-x", "O"]'}
    assert second["text"] == "é"
    assert confusion == [["label \\ prediction", "no", 'y"e,s'], ["no", "2", "0"], ['y"e,s', "1", "1"]]


def test_columns_of_unequal_length_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        write_predictions(tmp_path / "predictions.csv", {"row": [1, 2], "label": [1]})


def test_the_card_tells_data_scores_costs_and_origin(run: Run, state: State) -> None:
    text = (package_of(run, state, export=export_of()) / "README.md").read_text()
    report = json.loads((run.dir.artifacts / "data_report.json").read_text())

    assert text.startswith("# a | b\n")
    for told in ("| accuracy | 0.7500 | 0.7500 |", "train 1,000", "duplicates dropped: 1", "seed 7", "attempt 2", "8 steps in 2 epochs"):
        assert told in text
    assert f"`{report['digest']}`" in text
    assert torch.__version__ in text
    assert "3.0 device-seconds" in text
    assert "Vocabulary: 20 tokens" in text
    assert 'torch.export.load("model.pt2")' in text
    assert "![loss](plots/loss.png)" in text


def test_the_digest_follows_the_content_of_the_data(run: Run, state: State) -> None:
    before = json.loads((package_of(run, state) / "data_report.json").read_text())["digest"]
    assert run.file.data_dir is not None
    (Path(run.file.data_dir) / "rows.csv").write_text("a,b\n1,3\n")
    shutil.rmtree(run.dir.artifacts)
    run.dir.artifacts.mkdir()

    assert json.loads((package_of(run, state) / "data_report.json").read_text())["digest"] != before


def test_a_package_whose_program_differs_is_never_sealed(run: Run, state: State) -> None:
    package = Package(config={}, export=Export((torch.ones(2, 3),), {"images": {0: "batch"}}))

    with pytest.raises(ExportDiffers):
        write_package(run, Moody().eval(), state, task.Tested(score=SCORE), package)
    assert not (run.dir.artifacts / MANIFEST).exists()


@pytest.mark.parametrize("rows", [1, 4])
def test_the_exported_program_takes_other_batches_and_lengths(tmp_path: Path, rows: int) -> None:
    reader = Reader().eval()
    export_program(reader, export_of(rows), tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()

    for shape in ((1, 1), (3, 16)):
        tokens = torch.randint(20, shape)
        found, expected = program(tokens, torch.ones_like(tokens)), reader(tokens, torch.ones_like(tokens))
        assert torch.allclose(found["logits"], expected["logits"], atol=1e-6)
        assert found["length"].tolist() == [shape[1]] * shape[0]


@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")  # torch on its own recurrent layers
def test_a_length_that_became_a_constant_is_found_out(tmp_path: Path) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(4, 4, batch_first=True)

        def forward(self, sound: torch.Tensor) -> torch.Tensor:
            states: torch.Tensor = self.layer(sound[:, ::2])[0]
            return states

    export = Export((torch.zeros(2, 8, 4),), {"sound": {0: "batch", 1: "time"}}, also=((torch.zeros(2, 12, 4),),))

    with pytest.raises(ExportDiffers, match="does not take inputs"):
        export_program(Recurrent().eval(), export, tmp_path / "model.pt2")


def test_an_axis_of_an_argument_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="takes tokens, mask, not ids"):
        export_program(Reader(), Export(export_of().example, {"ids": {0: "batch"}}), tmp_path / "model.pt2")

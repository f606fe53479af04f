"""tabular: one column of a table from the others."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.recipes.tabular import FTTransformer, Mlp, TabularSpec
from trainer.data.balance import balanced_order
from trainer.data.findings import Findings
from trainer.data.limit import rows_to_score
from trainer.data.tabular import read_tabular
from trainer.evaluation import in_row_order, shares
from trainer.package import Export, Package, described, write_package
from trainer.state import Run, Score, State
from trainer.tasks.tabular_goals import Classes, Quantity, goal_of
from trainer.tasks.task import Batch, Draw, Outcome, Rows, Split, Task, Tested, dataset_of, plan_evaluation

EVALUATION_BATCH = 1024  # per rank; no effect on the score but for rounding, so it is no knob
NUM_EXAMPLES = 8


class Tabular(Task):
    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, TabularSpec)
        self.spec, self.ranks, self.seed, self.knobs = spec, run.ranks, spec.seed, spec.training
        self.findings = Findings()
        self.base = base_config(run)
        self.data = read_tabular(dataset_of(run), spec.data, seed=spec.seed, findings=self.findings, base=self.base.get("preprocessing"))
        self.goal = goal_of(self.data, spec)
        self.evaluation = plan_evaluation(spec.evaluation, metric=self.goal.metric)
        self.num_train_rows = len(self.data.splits.train)
        self.numbers, self.categories = map(torch.from_numpy, self.data.features)

    def architecture(self) -> dict[str, Any]:
        model, preprocessing = self.spec.model, self.data.preprocessing
        shape = {
            "num_numbers": preprocessing.num_numbers,
            "cardinalities": preprocessing.cardinalities,
            "num_outputs": self.goal.num_outputs,
        }
        if isinstance(model, FTTransformer):
            return {**model.model_dump(), **shape}
        return {**model.model_dump(), **shape, "family": "tabular-mlp", "edges": self._edges(model)}

    def _edges(self, model: Mlp) -> list[list[float]]:
        """Quantiles of the training rows; a base model keeps its own."""
        if model.numeric_embedding != "piecewise-linear":
            return []
        known: list[list[float]] = self.base.get("architecture", {}).get("edges", [])
        own = self.data.features.numbers[self.data.splits.train].astype(np.float64)
        found = np.quantile(own, np.linspace(0, 1, model.numeric_bins + 1), axis=0).T.tolist()
        return known or found

    def order(self, epoch: int) -> Rows:
        if self.spec.data.balanced_sampling and self.data.kind == "classification":
            return balanced_order(self.data.targets[self.data.splits.train].astype(np.int64), seed=self.seed, epoch=epoch)
        return super().order(epoch)

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        return self._take(self.data.splits.train[rows])

    def _take(self, rows: Rows) -> Batch:
        """``numbers`` (N, F), ``categories`` (N, C), ``targets`` (N,)."""
        return {"numbers": self.numbers[rows], "categories": self.categories[rows], "targets": self.goal.training_targets[rows]}

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        return self.goal.outcome(model(batch["numbers"], batch["categories"]), batch["targets"])

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        return self._score(model, rows_to_score(self.data.splits, split, self.spec.evaluation.limit_rows, seed=self.seed))[0]

    def test(self, model: nn.Module) -> Tested:
        rows = self.data.splits.test
        score, own = self._score(model, rows)
        outputs = in_row_order(self.ranks.gather(own), self.ranks).cpu()
        columns = self.goal.columns(outputs, rows)
        return Tested(score=score, predictions={"row": rows.tolist(), **columns}, more=self.goal.details(columns))

    def _score(self, model: nn.Module, rows: Rows) -> tuple[Score, torch.Tensor]:
        """Of all ranks, and this rank's outputs."""
        device = self.ranks.device
        tally = self.goal.new_tally(device)
        own = [torch.empty(0, self.goal.num_outputs, device=device)]
        for outputs, targets in self._outputs(model, rows):
            self.goal.count(tally, outputs, targets)
            own.append(outputs.float())
        return Score(metrics=tally.total(self.ranks), num_rows=len(rows)), torch.cat(own)

    def _outputs(self, model: nn.Module, rows: Rows) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for positions, num_valid in shares(len(rows), self.ranks, EVALUATION_BATCH):
            batch = {name: tensor.to(self.ranks.device) for name, tensor in self._take(rows[positions]).items()}
            yield model(batch["numbers"], batch["categories"])[:num_valid], batch["targets"][:num_valid]

    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None:
        data, goal = self.data, self.goal
        example = self._take(data.splits.test[:NUM_EXAMPLES])
        package = Package(
            config=self._config(model),
            predictions=tested.predictions,
            export=Export(
                example=(example["numbers"], example["categories"]), dynamic={"numbers": {0: "batch"}, "categories": {0: "batch"}}
            ),
            confusion=goal.confusion(tested.predictions) if isinstance(goal, Classes) else None,
            data_report={**self.findings.report(), "splits": data.splits.sizes()},
            facts={"Target": data.columns.target, "Kind": data.kind, "Columns": ", ".join(data.columns.features)},
        )
        write_package(run, model, state, tested, package)

    def _config(self, model: nn.Module) -> dict[str, Any]:
        """``preprocessing`` is ``trainer.data.tabular_preprocessing``, all that leads from cells to the model's inputs."""
        data, goal = self.data, self.goal
        output: dict[str, Any] = {
            "shape": ["batch", goal.num_outputs],
            "dtype": "float32",
            "meaning": "logits; softmax gives probabilities",
        }
        if isinstance(goal, Quantity):
            output |= {"meaning": "times scale plus centre is the prediction", "centre": goal.centre, "scale": goal.scale}
        return described(
            self.spec.recipe,
            model,
            architecture=self.architecture(),
            labels=list(data.labels),
            kind=data.kind,
            target=data.columns.target,
            preprocessing=data.preprocessing.as_json(),
            input={
                "numbers": {"shape": ["batch", data.preprocessing.num_numbers], "dtype": "float32"},
                "categories": {"shape": ["batch", len(data.preprocessing.categorical)], "dtype": "int64"},
            },
            output=output,
        )


def base_config(run: Run) -> dict[str, Any]:
    """config.json of a base model of this recipe; empty without one."""
    path = Path(run.file.base_model_dir) / "config.json" if run.file.base_model_dir is not None else None
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path is not None and path.is_file() else {}
    return content if content.get("recipe") == "tabular" else {}

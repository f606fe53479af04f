"""recommendation: ratings predicted, or items ranked."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.recipes.recommendation import RecommendationSpec
from core.run_dir import write_atomically
from trainer.data.findings import Findings
from trainer.data.rating_baselines import baselines, rating_range
from trainer.data.ratings import read_ratings
from trainer.errors import InvalidData
from trainer.package import Export, Package, described, write_package
from trainer.state import Run, Score, State
from trainer.tasks.recommendation_goals import Goal, RankingGoal, RatingGoal
from trainer.tasks.task import Batch, Draw, Outcome, Rows, Split, Task, Tested, dataset_of, plan_evaluation
from trainer.tensor_files import write_tensors

NUM_EXAMPLES = 8
METRICS_OF = {True: (None, "rmse", "mae", "loss"), False: (None, "recall_at_10", "ndcg_at_10", "loss")}


class Recommendation(Task):
    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, RecommendationSpec)
        self.spec, self.ranks, self.seed, self.knobs = spec, run.ranks, spec.seed, spec.training
        self.findings = Findings()
        self.data = read_ratings(dataset_of(run), spec.data, seed=spec.seed, findings=self.findings)
        if spec.evaluation.metric not in METRICS_OF[self.data.explicit]:
            kind = "ratings" if self.data.explicit else "implicit feedback"
            raise InvalidData([f"there is no metric {spec.evaluation.metric} for {kind}; data.feedback can say otherwise"])
        self.goal: Goal = RatingGoal(self.data, spec) if self.data.explicit else RankingGoal(self.data, spec)
        self.evaluation = plan_evaluation(spec.evaluation, metric=self.goal.metric)
        self.num_train_rows = len(self.data.splits.train)

    def architecture(self) -> dict[str, Any]:
        knobs = {name: value for name, value in self.spec.model.model_dump().items() if not name.endswith("_l2")}
        return {**knobs, "num_users": self.data.num_users, "num_items": self.data.num_items, "mean": self.goal.mean}

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        return self.goal.batch(self.data.splits.train[rows], draw)

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        return self.goal.outcome(model, batch)

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        return self.goal.evaluate(model, split, self.ranks)

    def test(self, model: nn.Module) -> Tested:
        return self.goal.test(model, self.ranks)

    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None:
        data = self.data
        rows = data.splits.test[:NUM_EXAMPLES]
        example = (torch.from_numpy(data.users[rows]), torch.from_numpy(data.items[rows])[:, None].repeat(1, 2))
        package = Package(
            config=self._config(model),
            metrics={"baselines": baselines(data)} if data.explicit else {},
            predictions=tested.predictions,
            export=Export(example=example, dynamic={"users": {0: "batch"}, "items": {0: "batch", 1: "choices"}}),
            data_report={**self.findings.report(), "splits": data.splits.sizes()},
            files=self._write_names,
            facts={
                "Feedback": "ratings" if data.explicit else "implicit",
                "Users": f"{len(data.user_names):,}",
                "Items": f"{len(data.item_names):,}",
            },
        )
        write_package(run, model, state, tested, package)

    def _write_names(self, folder: Path) -> None:
        """The names of numbers 1, 2, ..., and who had what while training, which is not offered again."""
        data, train = self.data, self.data.splits.train
        write_atomically(folder / "names.json", {"users": data.user_names, "items": data.item_names})
        seen = {"users": data.users[train], "items": data.items[train]}
        write_tensors(folder / "seen.safetensors", {name: torch.from_numpy(np.ascontiguousarray(part)) for name, part in seen.items()})

    def _config(self, model: nn.Module) -> dict[str, Any]:
        low, high = rating_range(self.data)
        return described(
            self.spec.recipe,
            model,
            architecture=self.architecture(),
            preprocessing={
                "user_column": self.data.columns.user,
                "item_column": self.data.columns.item,
                "explicit": self.data.explicit,
                "rating_range": [low, high],
                "names": "names.json: the names of users and items 1, 2, ...; 0 is unknown",
            },
            input={
                "users": {"shape": ["batch"], "dtype": "int64"},
                "items": {"shape": ["batch", "choices"], "dtype": "int64", "values": "what each user's score is asked for"},
            },
            output={"shape": ["batch", "choices"], "dtype": "float32", "meaning": "ratings" if self.data.explicit else "scores"},
        )

"""masked-language-modeling: an encoder learns to tell masked tokens, as a start for classifiers and taggers."""

from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional

from core.recipes.masked_language_modeling import MaskedLanguageModelingSpec
from trainer.data.findings import Findings
from trainer.data.limit import rows_to_score
from trainer.data.text.augment import Place
from trainer.data.text.base import read_base
from trainer.data.text.masking import Masking
from trainer.data.text.packing import pack_texts, read_texts, splits_of
from trainer.data.text.prepare import plan_tokenizer
from trainer.data.text.tokenizers import FILE
from trainer.evaluation import shares
from trainer.language_scores import MaskedTally
from trainer.models import build
from trainer.models.encoder import EncoderModel
from trainer.package import Export, Package, described, write_package
from trainer.state import Run, Score, State
from trainer.tasks.task import IGNORED, Batch, Draw, Outcome, Rows, Split, Task, Tested, dataset_of, plan_evaluation
from trainer.tasks.text_architecture import encoder_of

EVALUATION_BATCH = 64  # per rank; no effect on the score but for rounding, so it is no knob
EVALUATION_EPOCH = -1  # a place of its own for the masks of validation and test
NUM_EXAMPLES = 8


class MaskedLanguageModeling(Task):
    unit: ClassVar[Literal["samples", "tokens"]] = "tokens"
    uneven = True  # rows differ in how many of their tokens are masked

    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, MaskedLanguageModelingSpec)
        self.spec, self.ranks, self.seed, self.knobs = spec, run.ranks, spec.seed, spec.training
        self.findings = Findings()
        self.base = read_base(run.file.base_model_dir)
        limit = self.base.encoder()["max_length"] if self.base else None
        self.plan = plan_tokenizer(spec.data.tokenizer, self.base, auto="wordpiece", limit=limit)
        texts = read_texts(dataset_of(run), spec.data, seed=spec.seed, findings=self.findings)
        prepared = pack_texts(run, self.plan, texts, spec.data.packing)
        self.tokenizer, self.ids, self.splits = prepared.tokenizer, prepared.ids, splits_of(prepared.stats["num_rows"])
        for name, what in (("num_truncated", f"texts cut to {self.plan.max_length} tokens"), ("num_empty", "rows without a known token")):
            if prepared.stats[name]:
                self.findings.count(what, prepared.stats[name])
        self.num_train_rows = len(self.splits.train)
        self.masking = Masking.by(spec.training, self.tokenizer)
        self.evaluation = plan_evaluation(spec.evaluation, metric="loss")

    def architecture(self) -> dict[str, Any]:
        sizes = {"vocab_size": self.tokenizer.vocab_size, "max_length": self.plan.max_length}
        return {"family": "encoder-masked-lm", **encoder_of(self.spec.model, self.base, **sizes)}

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        """``ids`` and ``mask`` (N, L), ``labels`` (N, L), IGNORED where nothing is to be told, and ``where`` (M,), the other places."""
        return self._masked(self.splits.train[rows], Place(draw.seed, draw.epoch, draw.step))

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        logits, labels = told(model, batch)
        loss = functional.cross_entropy(logits.float(), labels)
        return Outcome(loss, float(len(labels)), num_correct=(logits.argmax(1) == labels).sum(), logits=logits)

    def num_units(self, batch: Batch) -> int:
        return int(batch["mask"].sum())

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        rows = rows_to_score(self.splits, split, self.spec.evaluation.limit_rows, seed=self.seed)
        tally = MaskedTally()
        for positions, num_valid in shares(len(rows), self.ranks, EVALUATION_BATCH):
            batch = self._masked(rows[positions], Place(self.seed, EVALUATION_EPOCH, 0))
            batch["labels"][num_valid:] = IGNORED  # the padding of the last batch
            tally.add(*told(model, {name: tensor.to(self.ranks.device) for name, tensor in batch.items()}))
        return Score(metrics=tally.total(self.ranks), num_rows=len(rows))

    def test(self, model: nn.Module) -> Tested:
        return Tested(score=self.evaluate(model, "test"))

    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None:
        rows, longest = self.splits.test[-NUM_EXAMPLES:], self.plan.max_length
        batches = [self.ids.batch(part, pad_id=self.tokenizer.pad_id, longest=longest) for part in (rows, rows[-1:])]
        content = Package(
            config=self._described(model),
            export=Export(
                example=(batches[0]["ids"], batches[0]["mask"]),
                dynamic={name: {0: "batch", 1: f"length<={longest}"} for name in ("ids", "mask")},
                also=((batches[1]["ids"][:, : longest // 2], batches[1]["mask"][:, : longest // 2]),),
            ),
            data_report={**self.findings.report(), "splits": self.splits.sizes()},
            files=lambda folder: self.tokenizer.save(folder / FILE),
            facts={
                "Tokens": f"{self.tokenizer.vocab_size:,} {'of the base model' if self.plan.file else self.plan.kind}",
                "Use": "as base_model of text-classification or token-classification, or to fill in [MASK]",
            },
        )
        write_package(run, model, state, tested, content)

    def flops_per_unit(self) -> float | None:
        """The output layer, which sees masked tokens alone, is left out."""
        with torch.device("meta"):
            model = build(self.architecture())
        assert isinstance(model, EncoderModel)
        return model.flops_per_token(round(float(self.ids.lengths()[self.splits.train].mean())))

    def _masked(self, rows: Rows, place: Place) -> Batch:
        batch = self.ids.batch(rows, pad_id=self.tokenizer.pad_id, longest=self.plan.max_length)
        return self.masking(batch, rows, place)

    def _described(self, model: nn.Module) -> dict[str, Any]:
        inputs = {"ids": "int64, token numbers by tokenizer.json", "mask": "bool, true on tokens and false on the padding behind them"}
        return described(
            self.spec.recipe,
            model,
            architecture=self.architecture(),
            preprocessing={"tokenizer": FILE, "max_length": self.plan.max_length, "pad_id": self.tokenizer.pad_id},
            input={"shape": ["batch", "length"], "order": list(inputs), **inputs},
            output={
                "shape": ["batch", "length", self.tokenizer.vocab_size],
                "dtype": "float32",
                "meaning": "logits of the token at each place",
            },
        )


def told(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(M, V) logits and (M,) labels of the tokens that are to be told."""
    logits: torch.Tensor = model(ids=batch["ids"], mask=batch["mask"], where=batch["where"])
    return logits, batch["labels"].flatten()[batch["where"]]

"""token-classification: entities in sentences of tagged words, scored whole."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from core.recipes.token_classification import BiLstm, Encoder, TokenClassificationSpec
from trainer.data.findings import Findings
from trainer.data.limit import rows_to_score
from trainer.data.tagged import TaggedWords, read_tagged_words
from trainer.data.text.base import BaseModel, most_tokens, read_base
from trainer.data.text.prepare import plan_tokenizer
from trainer.data.words import UNKNOWN, TokenReader, WordReader
from trainer.entity_scores import entity_scores
from trainer.evaluation import shares, texts_in_row_order
from trainer.package import write_package
from trainer.state import Run, Score, State
from trainer.tagging import ask
from trainer.tasks.tagger_package import package_of
from trainer.tasks.task import IGNORED, Batch, Draw, Outcome, Rows, Split, Task, Tested, dataset_of, plan_evaluation
from trainer.tasks.text_architecture import encoder_of, transformers_of

EVALUATION_BATCH = 128  # per rank; no effect on the score but for rounding, so it is no knob
_WORD_DROPOUT = 0x3D


class TokenClassification(Task):
    unit: ClassVar[Literal["samples", "tokens"]] = "tokens"
    uneven: ClassVar[bool] = True

    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, TokenClassificationSpec)
        self.spec, self.ranks, self.seed, self.knobs = spec, run.ranks, spec.seed, spec.training
        self.findings = Findings()
        self.data = read_tagged_words(dataset_of(run), spec.data, seed=spec.seed, findings=self.findings)
        self.base = read_base(run.file.base_model_dir)
        folder = Path(run.file.base_model_dir) if run.file.base_model_dir else None
        self.reader = new_reader(spec, self.data, self.base, folder)
        self.num_train_rows = len(self.data.splits.train)
        self.evaluation = plan_evaluation(spec.evaluation, metric="f1")

    def architecture(self) -> dict[str, Any]:
        model, names = self.spec.model, self.data.names
        if isinstance(self.reader, WordReader):
            own = {**model.model_dump(), "family": "recurrent-tagger", "num_types": self.data.num_types, **self.reader.sizes}
            return (
                own if self.base is None else {**(self.base.architecture or {}), "num_types": own["num_types"], "dropout": own["dropout"]}
            )
        tokenizer, longest = self.reader.tokenizer, self.reader.longest
        if isinstance(model, Encoder):
            encoder = encoder_of(model, self.base, vocab_size=tokenizer.vocab_size, max_length=longest)
            return {"family": "encoder-tagger", "num_classes": len(names), "head_dropout": model.head_dropout, **encoder}
        config = getattr(model, "config", None)
        return {**transformers_of(config, self.base, tokenizer=tokenizer, classes=names), "task": "token-classification"}

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        """What the reader gives, and ``labels`` (N, W): the tags of words, IGNORED on padding."""
        batch = self.batch(self.data.splits.train[rows])
        if "words" in batch and self.spec.training.word_dropout:
            chances = torch.rand(batch["words"].shape, generator=draw.generator(_WORD_DROPOUT))
            batch["words"] = torch.where(batch["mask"] & (chances < self.spec.training.word_dropout), UNKNOWN, batch["words"])
        return batch

    def batch(self, rows: Rows) -> Batch:
        batch = self.reader.read([self.data.words[row] for row in rows.tolist()])
        places = batch["firsts"] >= 0 if "firsts" in batch else batch["mask"]
        labels = torch.full(places.shape, IGNORED)
        labels[places] = torch.cat([torch.from_numpy(self.data.tags[row][:n]) for row, n in zip(rows, places.sum(1).tolist(), strict=True)])
        return {**batch, "labels": labels}

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        said, labels = ask(model, batch), batch["labels"]
        counted = labels != IGNORED
        weight = float(counted.sum())
        num_correct = (said.emissions.argmax(2) == labels).sum()
        logits = said.emissions[counted] if self.knobs.r_drop else None
        return Outcome(said.loss(labels) / max(weight, 1.0), weight, num_correct=num_correct, logits=logits)

    def num_units(self, batch: Batch) -> int:
        return int((batch["labels"] != IGNORED).sum())

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        return self._examine(model, rows_to_score(self.data.splits, split, self.spec.evaluation.limit_rows, seed=self.seed))[0]

    def test(self, model: nn.Module) -> Tested:
        rows = self.data.splits.test
        score, predicted, per_type = self._examine(model, rows)
        columns = {
            "row": rows.tolist(),
            "tokens": [self.data.words[row] for row in rows],
            "tags": [self.data.named(self.data.tags[row]) for row in rows],
            "prediction": predicted,
        }
        return Tested(score=score, predictions=columns, more={"per_type": per_type})

    def _examine(self, model: nn.Module, rows: Rows) -> tuple[Score, list[list[str]], dict[str, dict[str, float]]]:
        """The score, the tags that the model gives to each of ``rows``, and the scores of each type; the same on every rank.

        Words that were cut are taken for O.
        """
        device, names = self.ranks.device, self.data.names
        total = torch.zeros(2, dtype=torch.float64, device=device)
        own: list[str] = []
        for positions, num_valid in shares(len(rows), self.ranks, EVALUATION_BATCH):
            batch = {name: tensor.to(device) for name, tensor in self.batch(rows[positions]).items()}
            batch["labels"][num_valid:] = IGNORED
            said = ask(model, batch)
            total += torch.stack([said.loss(batch["labels"]).double(), (batch["labels"] != IGNORED).sum().double()])
            found = zip(said.tags().tolist(), said.mask.sum(1).tolist(), strict=True)
            own += [" ".join(map(str, tags[:length])) for tags, length in found][:num_valid]
        loss, num_words = self.ranks.sum(total.tolist())
        gathered = texts_in_row_order(self.ranks.gather_texts(own), self.ranks)
        lengths = [len(self.data.tags[row]) for row in rows]
        predicted = [[names[int(tag)] for tag in text.split()] for text in gathered]
        predicted = [tags + ["O"] * (length - len(tags)) for tags, length in zip(predicted, lengths, strict=True)]
        true = [self.data.named(self.data.tags[row]) for row in rows]
        overall, per_type = entity_scores(true, predicted)
        num_right = sum(one == other for ours, theirs in zip(true, predicted, strict=True) for one, other in zip(ours, theirs, strict=True))
        metrics = {"loss": loss / num_words, "accuracy": num_right / sum(lengths), **overall}
        return Score(metrics=metrics, num_rows=len(rows)), predicted, per_type

    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None:
        write_package(run, model, state, tested, package_of(self, model, tested))


def new_reader(spec: TokenClassificationSpec, data: TaggedWords, base: BaseModel | None, folder: Path | None) -> WordReader | TokenReader:
    """Learned from the training split, or the base model's."""
    knobs, sentences = spec.data.tokenizer, [data.words[row] for row in data.splits.train]
    if isinstance(spec.model, BiLstm):
        if folder is not None:
            return WordReader.load(folder)
        return WordReader.learn(sentences, knobs)
    theirs = getattr(spec.model, "config", None) or (base.transformers if base else None) or {}
    limit = (base.architecture or {}).get("max_length") if base is not None and base.architecture else most_tokens(theirs)
    plan = plan_tokenizer(knobs, base, auto="wordpiece", limit=limit)
    return TokenReader(plan.make([" ".join(sentence) for sentence in sentences]), plan.max_length)

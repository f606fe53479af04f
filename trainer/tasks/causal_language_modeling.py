"""causal-language-modeling: the next token of texts, chats and completions, from scratch or from a base model."""

from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from core.recipes.causal_language_modeling import CausalLanguageModelingSpec
from trainer.data.language import prepare_language
from trainer.data.token_files import encode_plain
from trainer.determinism import generator
from trainer.language_scores import score_next_tokens
from trainer.models.generate import generate
from trainer.package.language_model import package_language_model
from trainer.state import Run, Score, State
from trainer.tasks.decoder_architecture import decoder_architecture
from trainer.tasks.task import IGNORED, Batch, Draw, Outcome, Rows, Split, Task, Tested, dataset_of, plan_evaluation

PROMPT_TOKENS = 32
_OFFSETS, _SAMPLES = 0x0F5, 0x5A3


class CausalLanguageModeling(Task):
    unit: ClassVar[Literal["samples", "tokens"]] = "tokens"

    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, CausalLanguageModelingSpec)
        self.spec, self.ranks, self.seed, self.report = spec, run.ranks, spec.seed, run.report
        self.knobs = spec.training
        self.language = prepare_language(run, spec, dataset_of(run))
        self.evaluation = plan_evaluation(spec.evaluation, metric="loss")
        self.num_train_rows = len(self.language.train)
        self.uneven = self.language.train.in_rows  # type: ignore[misc]  # whole blocks all weigh the same
        self.samples: list[dict[str, Any]] = []
        self._flops: float | None = None

    def architecture(self) -> dict[str, Any]:
        sizes = {"vocabulary": self.language.tokenizer.vocab_size, "context": self.spec.data.context_length}
        return decoder_architecture(self.spec.model, self.language.base, **sizes)

    def build_model(self) -> nn.Module:
        model = super().build_model()
        self._flops = model.flops_per_token(self.spec.data.context_length)  # type: ignore[operator]
        return model

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        """``inputs`` and ``labels``, (N, T) token numbers."""
        split = self.language.train
        if split.in_rows:
            inputs, labels = split.batch(rows)
        else:
            inputs, labels = split.ring(self._starts(rows, draw.epoch))
        return {"inputs": inputs, "labels": labels}

    def _starts(self, rows: Rows, epoch: int) -> Rows:
        """Where blocks begin: anywhere; or one behind the other from a place that is another in each epoch, round the whole text."""
        split, context = self.language.train, self.spec.data.context_length
        if self.spec.data.sampling == "random":
            return offsets_of_epoch(self.num_train_rows, split.size.num_targets - context + 1, seed=self.seed, epoch=epoch)[rows]
        return rows * context + int(offsets_of_epoch(1, split.size.num_targets, seed=self.seed, epoch=epoch)[0])

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        logits = model(batch["inputs"]).flatten(0, 1)
        labels = batch["labels"].flatten()
        loss = functional.cross_entropy(logits.float(), labels, ignore_index=IGNORED)
        weight = self.weight(batch) if self.uneven else float(labels.numel())
        counted = None
        if self.knobs.r_drop:
            counted = logits[labels != IGNORED] if self.uneven else logits
        return Outcome(loss=loss, weight=weight, logits=counted)

    def num_units(self, batch: Batch) -> int:
        return batch["labels"].numel()

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        score = score_next_tokens(model, getattr(self.language, split), self.ranks, limit=self.spec.evaluation.limit_rows)
        self._sample(model, score)
        return score

    def test(self, model: nn.Module) -> Tested:
        score = score_next_tokens(model, self.language.test, self.ranks)
        self._sample(model, score)
        return Tested(score=score)

    def _sample(self, model: nn.Module, score: Score) -> None:
        """The model goes on from a prompt. On all ranks, for a sharded model's forward pass is a collective."""
        plan, tokenizer = self.spec.evaluation, self.language.tokenizer
        if not plan.sample_tokens:
            return
        prompt = self._prompt()
        tokens = generate(
            model,
            prompt.to(self.ranks.device),
            plan.sample_tokens,
            context=self.spec.data.context_length,
            temperature=plan.temperature,
            top_k=plan.top_k,
            stop=tokenizer.end_id,
            draws=generator(self.seed, _SAMPLES),
        )[0].tolist()
        said = {"prompt": tokenizer.decode(tokens[: prompt.shape[1]]), "text": tokenizer.decode(tokens[prompt.shape[1] :])}
        self.samples.append({**said, "loss": score.metrics["loss"]})
        self.report.line(f"sample after {said['prompt']!r}:\n{said['text']}")

    def _prompt(self) -> torch.Tensor:
        """(1, T)"""
        context, given = self.spec.data.context_length, self.spec.evaluation.sample_prompt
        prompt = None
        if given:
            prompt = torch.tensor(encode_plain(self.language.tokenizer, [given]), dtype=torch.int64)
        if prompt is None or not prompt.numel():
            prompt = self.language.validation.prompt(min(PROMPT_TOKENS, context // 2))
        return prompt[:, -context:]

    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None:
        inputs, _ = self.language.test.batch(np.arange(min(2, len(self.language.test))))
        package_language_model(
            run, model, state, tested, language=self.language, architecture=self.architecture(), samples=self.samples, example=inputs
        )

    def flops_per_unit(self) -> float | None:
        return self._flops


@lru_cache(maxsize=2)
def offsets_of_epoch(num_rows: int, num_places: int, *, seed: int, epoch: int) -> Rows:
    """A random place for each block of an epoch; the same whatever the number of ranks."""
    offsets: Rows = torch.randint(num_places, (num_rows,), generator=generator(seed, _OFFSETS, epoch)).numpy()
    return offsets

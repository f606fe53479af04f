"""speech-recognition: what is said, letter by letter, by CTC."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.recipes.speech_recognition import SpeechRecognitionSpec
from trainer.ctc import decode_all, frames_needed
from trainer.data.bucketing import bucketed_order
from trainer.data.findings import Findings
from trainer.data.leaks import drop_or_report_leaks
from trainer.data.limit import rows_to_score
from trainer.data.speech_corpus import open_speech
from trainer.data.speech_inputs import BandStatistics, SpeechInputs, fit_statistics, padded, statistics_from_json
from trainer.data.splits import Splits, make_splits
from trainer.edit_distance import count_errors
from trainer.evaluation import shares, texts_in_row_order
from trainer.losses import ctc
from trainer.package import Export, Package, described, write_package
from trainer.state import Run, Score, State
from trainer.tasks.speech_architecture import SpeechBase, architecture_of, output_lengths
from trainer.tasks.task import Batch, Draw, Outcome, Rows, Split, Task, Tested, dataset_of, plan_evaluation

EVALUATION_BATCH = 32  # per rank; no effect on the score but for rounding, so it is no knob
NUM_EXAMPLES = 4


class SpeechRecognition(Task):
    def __init__(self, run: Run) -> None:
        spec = run.file.spec
        assert isinstance(spec, SpeechRecognitionSpec)
        self.spec, self.ranks, self.seed, self.knobs = spec, run.ranks, spec.seed, spec.training
        self.findings = Findings()
        self.base = SpeechBase(run)
        self.data_knobs = self.base.hears_like(spec.data)
        self.speeds = sorted({1.0, *spec.training.speeds})
        self.corpus = open_speech(run, dataset_of(run), self.data_knobs, speeds=self.speeds, as_waves=spec.model.family == "transformers")
        self.splits = self._split()
        self.letters = self.base.letters_for([self.corpus.column("text")[row] for row in self.splits.train])
        self.numbers = [self.letters.encode(text) for text in self.corpus.column("text")]
        self._keep_what_can_be_spelled()
        self.built_from = self.architecture()
        self.inputs = SpeechInputs(self.corpus, self._statistics(), spec.training, self.speeds.index(1.0))
        self.evaluation = plan_evaluation(spec.evaluation, metric="wer")
        self.num_train_rows = len(self.splits.train)

    def architecture(self) -> dict[str, Any]:
        return architecture_of(self.spec, self.base, self.corpus.hearing, self.letters)

    def order(self, epoch: int) -> Rows:
        if not self.spec.training.bucket or self.knobs.batch_size == "auto":
            return super().order(epoch)
        lengths = self.corpus.lengths(self.inputs.own_speed)[self.splits.train]
        return bucketed_order(lengths, batch_size=self.knobs.batch_size, seed=self.seed, epoch=epoch)

    def train_batch(self, rows: Rows, draw: Draw) -> Batch:
        chosen = self.splits.train[rows]
        return self._batch(chosen, self.inputs.augmented(chosen, seed=draw.seed, epoch=draw.epoch))

    def _batch(self, rows: Rows, heard: tuple[torch.Tensor, torch.Tensor]) -> Batch:
        """``inputs`` and ``lengths`` as in ``SpeechInputs``; ``numbers`` (N, most letters) of the texts, and how many of each count."""
        numbers, num_letters = padded([torch.tensor(self.numbers[row], dtype=torch.int64) for row in rows.tolist()])
        return {"inputs": heard[0], "lengths": heard[1], "numbers": numbers, "num_letters": num_letters}

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        losses, _, _ = self._losses(model, batch)
        return Outcome(loss=losses.mean(), weight=float(len(losses)))

    def _losses(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(N,) negative log likelihoods per letter; log probabilities (N, S, K + 1) and the (N,) frames that count."""
        inputs, lengths = batch["inputs"], batch["lengths"]
        if self.spec.model.family == "transformers":
            logits = model(inputs, torch.arange(inputs.shape[1], device=inputs.device) < lengths[:, None])
        else:
            logits = model(inputs, lengths)
        log_probs, frames = logits.float().log_softmax(2), output_lengths(self.built_from, lengths)
        return ctc(log_probs, batch["numbers"], frames, batch["num_letters"]), log_probs, frames

    def evaluate(self, model: nn.Module, split: Split) -> Score:
        return self._examine(model, rows_to_score(self.splits, split, self.spec.evaluation.limit_rows, seed=self.seed))[0]

    def test(self, model: nn.Module) -> Tested:
        rows = self.splits.test
        score, said = self._examine(model, rows)
        texts = self.corpus.column("text")
        columns = {
            "file": [self.corpus.utterances[row]["name"] for row in rows.tolist()],
            "text": [texts[row] for row in rows.tolist()],
            "prediction": said,
        }
        return Tested(score=score, predictions=columns)

    def _examine(self, model: nn.Module, rows: Rows) -> tuple[Score, list[str]]:
        """The score of all ranks, and on each what was understood, in the order of ``rows``. Like lengths are looked at together."""
        by_length = np.argsort(self.corpus.lengths(self.inputs.own_speed)[rows], kind="stable")
        own, total_loss = [], 0.0
        for positions, num_valid in shares(len(rows), self.ranks, EVALUATION_BATCH):
            chosen = rows[by_length[positions]]
            batch = {name: tensor.to(self.ranks.device) for name, tensor in self._batch(chosen, self.inputs.plain(chosen)).items()}
            losses, log_probs, frames = self._losses(model, batch)
            total_loss += losses[:num_valid].double().sum().item()
            decoded = decode_all(log_probs[:num_valid], frames[:num_valid], beam_width=self.spec.evaluation.beam_width)
            own += [self.letters.decode(numbers) for numbers in decoded]
        said = [""] * len(rows)
        for place, text in zip(by_length.tolist(), texts_in_row_order(self.ranks.gather_texts(own), self.ranks), strict=True):
            said[place] = text
        word_edits, words, letter_edits, letters = count_errors(said, [self.corpus.utterances[row]["text"] for row in rows.tolist()])
        loss = self.ranks.sum([total_loss])[0] / len(rows)
        return Score(
            metrics={"loss": loss, "wer": word_edits / max(words, 1), "cer": letter_edits / max(letters, 1)}, num_rows=len(rows)
        ), said

    def package(self, run: Run, model: nn.Module, state: State, tested: Tested) -> None:
        is_own = self.spec.model.family != "transformers"
        ours = self._config(model)
        found = self.findings.report()
        report = self.corpus.report
        seconds = sum(self.corpus.column("seconds"))
        package = Package(
            config={**ours, "architecture": self.architecture()} if is_own else None,
            predictions=tested.predictions,
            export=self._export() if is_own else None,
            data_report={
                "rows_dropped": report["rows_dropped"] + found["rows_dropped"],
                "counts": report["counts"] | found["counts"],
                "problems": report["problems"] + found["problems"],
                "splits": self.splits.sizes(),
            },
            files=None if is_own else lambda folder: save_transformers(model, folder, ours),
            facts={"Letters": f"{len(self.letters.letters)}", "Speech": f"{seconds / 60:.1f} minutes at {self.corpus.hearing.rate} Hz"},
        )
        write_package(run, model, state, tested, package)

    def _export(self) -> Export:
        rows = self.splits.test[:NUM_EXAMPLES]
        return Export(example=self.inputs.plain(rows), dynamic={"features": {0: "batch", 1: "time"}, "lengths": {0: "batch"}})

    def _config(self, model: nn.Module) -> dict[str, Any]:
        hearing, knobs = self.corpus.hearing, self.data_knobs
        frames = {"shape": ["batch", "time", hearing.num_mels], "dtype": "float32", "values": "normalised log-mel energies, padded with 0"}
        return described(
            self.spec.recipe,
            model,
            labels=list(self.letters.letters),
            preprocessing={
                "sample_rate": hearing.rate,
                "num_mels": hearing.num_mels,
                "max_seconds": knobs.max_seconds,
                "beam_width": self.spec.evaluation.beam_width,
                **self.inputs.statistics.as_json(),
            },
            input={"features": frames, "lengths": {"shape": ["batch"], "dtype": "int64"}},
            output={
                "shape": ["batch", "frames", self.letters.num_outputs],
                "dtype": "float32",
                "meaning": "logits of the blank and of the labels, for CTC",
            },
        )

    def _split(self) -> Splits:
        corpus, knobs = self.corpus, self.spec.data
        splits = make_splits(
            len(corpus),
            knobs,
            seed=self.spec.seed,
            findings=self.findings,
            parts=corpus.column("part"),
            groups=corpus.column("group") if knobs.split == "group" else None,
            times=corpus.column("time") if knobs.split == "time" else None,
        )
        self.findings.settle(knobs.on_bad_rows)
        splits = drop_or_report_leaks(splits, [key.tobytes() for key in corpus.keys], knobs, self.findings)
        self.findings.settle(knobs.on_bad_rows)
        return splits

    def _keep_what_can_be_spelled(self) -> None:
        """CTC writes one letter a frame at most: utterances that are too short for their texts, at the fastest speed, are bad rows."""
        frames = output_lengths(self.architecture(), torch.from_numpy(self.corpus.lengths(len(self.speeds) - 1))).tolist()
        needed = [max(1, frames_needed(numbers)) for numbers in self.numbers]
        short = {row for row, (has, needs) in enumerate(zip(frames, needed, strict=True)) if has < needs}
        for row in sorted(short):
            one = self.corpus.utterances[row]
            what = f"{one['name']}: {frames[row]} frames are too few to spell its text, which needs {needed[row]}"
            self.findings.bad_row(what, file=one["file"], row=one["row"])
        self.findings.settle(self.spec.data.on_bad_rows)
        if short:
            kept = ([row for row in getattr(self.splits, name).tolist() if row not in short] for name in ("train", "validation", "test"))
            self.splits = Splits(*(np.array(rows, dtype=np.int64) for rows in kept))
        for name in ("train", "validation", "test"):
            if not len(getattr(self.splits, name)):
                self.findings.fatal(f"no utterance of the {name} split is left")
        self.findings.settle("drop")

    def _statistics(self) -> BandStatistics:
        if self.corpus.hearing.num_mels is None or self.data_knobs.normalisation == "utterance":
            return BandStatistics()
        known = self.base.ours.get("preprocessing")
        return statistics_from_json(known) if known else fit_statistics(self.corpus, self.splits.train, self.speeds.index(1.0))


def save_transformers(model: nn.Module, folder: Path, ours: dict[str, Any]) -> None:
    save: Callable[..., None] = importlib.import_module("trainer.models.hf").save_hf  # the library takes seconds to import
    save(model, folder, None, ours)

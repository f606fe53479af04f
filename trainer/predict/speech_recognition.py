"""speech-recognition: recordings to text."""

import io
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import soundfile
import torch

from trainer.ctc import Letters, decode_all
from trainer.data.audio import Unusable, decode
from trainer.data.speech_corpus import Hearing
from trainer.data.speech_inputs import BandStatistics, finished, padded, statistics_from_json
from trainer.data.speech_listing import AUDIO_NAMES
from trainer.determinism import generator
from trainer.predict import predictor
from trainer.predict.predictor import Axes, BadInput, Record
from trainer.tasks.speech_architecture import output_lengths

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


class Predictor(predictor.Predictor):
    suffixes = SUFFIXES
    takes = "audio"
    content_suffixes = SUFFIXES
    content_names = AUDIO_NAMES

    @property
    def content_column(self) -> str:
        return "audio"

    @cached_property
    def hearing(self) -> Hearing:
        return Hearing(self.config["preprocessing"]["sample_rate"], self.config["preprocessing"]["num_mels"])

    @cached_property
    def statistics(self) -> BandStatistics:
        return statistics_from_json(self.config["preprocessing"])

    @cached_property
    def letters(self) -> Letters:
        return Letters(tuple(self.config["labels"]))

    @cached_property
    def architecture(self) -> dict[str, Any]:
        """As far as the number of output frames goes by it."""
        if self.hearing.num_mels is not None:
            return dict(self.config["architecture"])
        config = json.loads((self.folder / "config.json").read_text("utf-8"))
        return {"family": "transformers", "config": config}

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        """What is said in each file."""
        for start in range(0, len(inputs), self.batch_size):
            paths = [Path(path) for path in inputs[start : start + self.batch_size]]
            batch = self._batch([self._read(path) for path in paths])
            yield from ({"input": str(path), "text": text} for path, text in zip(paths, self._texts(batch), strict=True))

    def answer(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        return [{"text": text} for text in self._texts(self.prepare(records))]

    def prepare(self, records: Sequence[Record]) -> dict[str, torch.Tensor]:
        """``features`` (N, T, B) and ``lengths`` (N,); of models that hear the wave itself ``ids`` (N, T) and ``mask`` (N, T)."""
        return self._batch([self._heard(record.get(self.content_column)) for record in records])

    def axes(self) -> Axes:
        if self.hearing.num_mels is None:
            return {"ids": {0: "batch", 1: "time"}, "mask": {0: "batch", 1: "time"}}
        return {"features": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}

    def made_up(self, num: int) -> Sequence[Record]:
        """Noise of half a second and more."""
        rate, draws = self.hearing.rate, generator(num, self.hearing.rate)
        records: list[Record] = []
        for number in range(num):
            file = io.BytesIO()
            noise = torch.randn(rate // 2 + number * rate // 16, generator=draws) * 0.1
            soundfile.write(file, noise.clamp(-1, 1).numpy(), rate, format="WAV")
            records.append({self.content_column: file.getvalue()})
        return records

    def said(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Log probabilities (N, S, K + 1) and the (N,) frames that count; ``batch`` is what ``prepare`` gives, on the device."""
        logits = self.model(**batch)
        lengths = batch["lengths"] if "lengths" in batch else batch["mask"].sum(1)
        return logits.float().log_softmax(2), output_lengths(self.architecture, lengths)

    def written(self, log_probs: torch.Tensor, frames: torch.Tensor) -> list[str]:
        """What was understood, in letters."""
        beam_width = self.config["preprocessing"]["beam_width"]
        return [self.letters.decode(numbers) for numbers in decode_all(log_probs, frames, beam_width=beam_width)]

    def _read(self, path: Path) -> torch.Tensor:
        try:
            return self._heard(path.read_bytes())
        except (BadInput, OSError) as error:
            raise BadInput(f"{path}: {error}") from None

    def _heard(self, content: Any) -> torch.Tensor:
        if not isinstance(content, bytes):
            raise BadInput("there is no recording")
        try:
            wave, rate = decode(content, max_seconds=self.config["preprocessing"]["max_seconds"])
        except Unusable as error:
            raise BadInput(str(error)) from None
        return finished(self.hearing, self.statistics, self.hearing(wave, rate))

    def _batch(self, heard: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        values, lengths = padded(heard)
        if self.hearing.num_mels is not None:
            return {"features": values, "lengths": lengths}
        return {"ids": values, "mask": torch.arange(values.shape[1]) < lengths[:, None]}

    def _texts(self, batch: dict[str, torch.Tensor]) -> list[str]:
        return self.written(*self.said({name: tensor.to(self.device) for name, tensor in batch.items()}))

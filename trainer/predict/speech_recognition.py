"""speech-recognition: recordings to text."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from trainer.ctc import Letters, decode_all
from trainer.data.audio import Unusable, decode
from trainer.data.speech_corpus import Hearing
from trainer.data.speech_inputs import BandStatistics, finished, padded, statistics_from_json
from trainer.predict import predictor
from trainer.predict.predictor import BadInput
from trainer.tasks.speech_architecture import output_lengths


class Predictor(predictor.Predictor):
    suffixes = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
    takes = "audio"

    @cached_property
    def hearing(self) -> Hearing:
        return Hearing(self.config["preprocessing"]["sample_rate"], self.config["preprocessing"]["num_mels"])

    @cached_property
    def statistics(self) -> BandStatistics:
        return statistics_from_json(self.config["preprocessing"])

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        """What is said in each file."""
        for start in range(0, len(inputs), self.batch_size):
            paths = [Path(path) for path in inputs[start : start + self.batch_size]]
            values, lengths = (part.to(self.device) for part in padded([self._heard(path) for path in paths]))
            yield from ({"input": str(path), "text": text} for path, text in zip(paths, self._texts(values, lengths), strict=True))

    def _heard(self, path: Path) -> torch.Tensor:
        try:
            wave, rate = decode(path.read_bytes(), max_seconds=self.config["preprocessing"]["max_seconds"])
        except (Unusable, OSError) as error:
            raise BadInput(f"{path}: {error}") from None
        return finished(self.hearing, self.statistics, self.hearing(wave, rate))

    def _texts(self, values: torch.Tensor, lengths: torch.Tensor) -> Iterator[str]:
        letters = Letters(tuple(self.config["labels"]))
        if self.hearing.num_mels is None:
            logits = self.model(values, torch.arange(values.shape[1], device=self.device) < lengths[:, None])
            config: Any = self.model.model.config  # type: ignore[union-attr]
            architecture = {"family": "transformers", "config": config.to_dict()}
        else:
            logits, architecture = self.model(values, lengths), self.config["architecture"]
        frames = output_lengths(architecture, lengths)
        beam_width = self.config["preprocessing"]["beam_width"]
        for numbers in decode_all(logits.float().log_softmax(2), frames, beam_width=beam_width):
            yield letters.decode(numbers)

"""From what was heard to what a recogniser takes: normalised, augmented where it is for training, padded to one length.

T frames of B bands, or T samples of a wave, which is normalised already.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from core.recipes.speech_recognition import Training
from trainer.data.mel import WINDOW_SECONDS, mel_filters, size_of_transform
from trainer.data.spec_augment import Masks, add_noise, draws_of
from trainer.data.speech_corpus import Hearing, SpeechCorpus

Rows = npt.NDArray[np.int64]
LEAST_DEVIATION = 1e-3  # of a band, which in digital silence is 0


@dataclass(frozen=True, slots=True)
class BandStatistics:
    """Of all training utterances, (B,) each; None: of each utterance itself."""

    mean: torch.Tensor | None = None
    deviation: torch.Tensor | None = None

    def normalise(self, features: torch.Tensor) -> torch.Tensor:
        """(T, B)"""
        if self.mean is None or self.deviation is None:
            deviation, mean = torch.std_mean(features, dim=0, correction=0)
            return (features - mean) / deviation.clamp(min=LEAST_DEVIATION)
        return (features - self.mean) / self.deviation

    def as_json(self) -> dict[str, Any]:
        if self.mean is None or self.deviation is None:
            return {"normalisation": "utterance"}
        return {"normalisation": "training", "mean": self.mean.tolist(), "deviation": self.deviation.tolist()}


def statistics_from_json(content: dict[str, Any]) -> BandStatistics:
    if content["normalisation"] == "utterance":
        return BandStatistics()
    return BandStatistics(torch.tensor(content["mean"]), torch.tensor(content["deviation"]))


def fit_statistics(corpus: SpeechCorpus, rows: Rows, speed: int) -> BandStatistics:
    """Over all frames of ``rows`` at speed number ``speed``."""
    total = np.zeros((2, corpus.values[0].shape[1]))
    num_frames = 0
    for row in rows.tolist():
        heard = corpus.heard(row, speed).astype(np.float64)
        total += np.stack([heard.sum(0), (heard**2).sum(0)])
        num_frames += len(heard)
    mean = total[0] / max(num_frames, 1)
    deviation = np.sqrt(np.maximum(total[1] / max(num_frames, 1) - mean**2, LEAST_DEVIATION**2))
    return BandStatistics(torch.from_numpy(mean).float(), torch.from_numpy(deviation).float())


@dataclass(frozen=True, slots=True)
class SpeechInputs:
    """``own_speed`` is the number of speed 1 among those of the corpus."""

    corpus: SpeechCorpus
    statistics: BandStatistics
    knobs: Training
    own_speed: int

    def plain(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, T, B) or (N, T), padded with 0, and the (N,) lengths that count."""
        return padded([finished(self.corpus.hearing, self.statistics, self.corpus.heard(row, self.own_speed)) for row in rows.tolist()])

    def augmented(self, rows: Rows, *, seed: int, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The same, each utterance with a speed, noise and masks of its own."""
        return padded([self._augmented(row, draws_of(row, seed=seed, epoch=epoch)) for row in rows.tolist()])

    def _augmented(self, row: int, draws: torch.Generator) -> torch.Tensor:
        knobs, hearing = self.knobs, self.corpus.hearing
        speed, chance = int(torch.randint(len(self.corpus.values), (), generator=draws)), float(torch.rand((), generator=draws))
        heard = torch.from_numpy(np.array(self.corpus.heard(row, speed)))
        if hearing.num_mels is None:
            return heard
        if chance < knobs.noise:
            heard = add_noise(heard, band_widths(hearing), draws, least_snr=knobs.noise_snr)
        masks = Masks(knobs.frequency_masks, knobs.frequency_mask_share, knobs.time_masks, knobs.time_mask_share)
        return masks.hide(self.statistics.normalise(heard), draws)


def finished(hearing: Hearing, statistics: BandStatistics, heard: npt.NDArray[np.float32]) -> torch.Tensor:
    values = torch.from_numpy(np.array(heard))
    return values if hearing.num_mels is None else statistics.normalise(values)


def band_widths(hearing: Hearing) -> torch.Tensor:
    """(B,): how much of white noise gets into each band."""
    assert hearing.num_mels is not None
    return mel_filters(hearing.rate, size_of_transform(round(WINDOW_SECONDS * hearing.rate)), hearing.num_mels).sum(0)


def padded(values: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(one) for one in values], dtype=torch.int64)
    return torch.nn.utils.rnn.pad_sequence(list(values), batch_first=True), lengths

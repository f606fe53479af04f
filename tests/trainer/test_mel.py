"""Mel features against NumPy, resampling, decoding, and augmentation that depends on the utterance alone."""

import io
import math

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch

from trainer.data.audio import Unusable, decode, resample
from trainer.data.bucketing import bucketed_order
from trainer.data.mel import hz_to_mel, log_mel, mel_filters, size_of_transform
from trainer.data.spec_augment import Masks, add_noise, draws_of

RATE = 8000


def tone(hz: float, seconds: float = 0.5, rate: int = RATE) -> npt.NDArray[np.float32]:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate).astype(np.float32)


def wav(samples: npt.NDArray[np.float32], rate: int = RATE, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype="PCM_16")
    return file.getvalue()


def reference(wave: npt.NDArray[np.float32], rate: int, num_mels: int) -> npt.NDArray[np.float64]:
    """Frame by frame and band by band, in double precision."""
    window, hop = round(0.025 * rate), round(0.010 * rate)
    num_points = 1 << math.ceil(math.log2(window))
    padded = np.concatenate([np.zeros(window // 2), wave.astype(np.float64), np.zeros(window)])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    mels = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + rate / 2 / 700), num_mels + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    hz = np.arange(num_points // 2 + 1) * rate / num_points
    rows = []
    for frame in range(1 + len(wave) // hop):
        power = np.abs(np.fft.rfft(padded[frame * hop : frame * hop + window] * hann, num_points)) ** 2
        bands = [power @ np.interp(hz, edges[band : band + 3], [0, 1, 0]) for band in range(num_mels)]
        rows.append(np.log(np.maximum(bands, 1e-10)))
    return np.array(rows)


@pytest.mark.parametrize(("rate", "num_mels"), [(8000, 16), (16000, 40)])
def test_features_are_those_of_the_reference(rate: int, num_mels: int) -> None:
    random = np.random.default_rng(0)
    wave = (tone(440, rate=rate) + 0.1 * random.normal(size=rate // 2)).astype(np.float32)

    found = log_mel(torch.from_numpy(wave), rate=rate, num_mels=num_mels).numpy()

    assert found.shape == (51, num_mels)
    assert found == pytest.approx(reference(wave, rate, num_mels), abs=2e-3)


def test_a_tone_is_loudest_in_its_own_band() -> None:
    edges = np.linspace(hz_to_mel(20), hz_to_mel(RATE / 2), 42)
    features = log_mel(torch.from_numpy(tone(1000)), rate=RATE, num_mels=40)

    assert abs(int(features[20].argmax()) + 1 - np.abs(edges - hz_to_mel(1000)).argmin()) <= 1


def test_no_band_is_deaf_even_where_triangles_are_narrow() -> None:
    filters = mel_filters(8000, size_of_transform(200), 128)

    assert bool((filters.sum(0) > 0).all())


def test_any_length_gives_its_frames_and_silence_is_finite() -> None:
    for length in (1, 79, 80, 81, 400):
        features = log_mel(torch.zeros(length), rate=RATE, num_mels=8)
        assert features.shape == (1 + length // 80, 8)
        assert features.min().item() == pytest.approx(math.log(1e-10))


def test_resampling_keeps_a_tone_and_a_faster_speed_raises_it() -> None:
    wave = tone(440, rate=16000, seconds=1.0)

    halved, fast = resample(wave, rate=16000, to=8000), resample(wave, rate=16000, to=16000, speed=1.1)

    assert len(halved) == 8000
    assert halved[100:-100] == pytest.approx(tone(440, seconds=1.0)[100:-100], abs=0.01)
    assert len(fast) == math.ceil(16000 / 1.1)
    loudest = np.abs(np.fft.rfft(fast)).argmax() * 16000 / len(fast)
    assert loudest == pytest.approx(440 * 1.1, abs=2)


def test_high_tones_do_not_come_back_as_low_ones() -> None:
    assert np.abs(resample(tone(7000, rate=16000), rate=16000, to=8000)[100:-100]).max() < 0.01


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_channels_become_one(kind: str) -> None:
    left, right = tone(300), tone(500)

    wave, rate = decode(wav(np.stack([left, right], axis=1), kind=kind), max_seconds=9)

    assert rate == RATE
    assert wave == pytest.approx((left + right) / 2, abs=1e-3)


def test_what_is_no_sound_says_why() -> None:
    with pytest.raises(Unusable, match="no sound that can be read"):
        decode(b"RIFF, or so", max_seconds=9)
    with pytest.raises(Unusable, match="holds no sound"):
        decode(wav(np.zeros(0, np.float32)), max_seconds=9)
    with pytest.raises(Unusable, match=r"lasts 0\.5 s, more than"):
        decode(wav(tone(440)), max_seconds=0.4)


def test_masks_hide_no_more_than_they_may_and_the_same_for_the_same_utterance() -> None:
    features = torch.ones(40, 20)
    masks = Masks(num_bands=1, band_share=0.25, num_times=1, time_share=0.5)
    widths = []
    for row in range(200):
        hidden = masks.hide(features, draws_of(row, seed=1, epoch=2))
        assert torch.equal(hidden, masks.hide(features, draws_of(row, seed=1, epoch=2)))
        bands, times = (hidden.sum(0) == 0).sum().item(), (hidden.sum(1) == 0).sum().item()
        assert bands <= 5
        assert times <= 20
        widths.append((bands, times))
    assert {bands for bands, _ in widths} == {0, 1, 2, 3, 4, 5}
    assert {times for _, times in widths} == set(range(21))
    assert torch.equal(features, torch.ones(40, 20)), "what was given stays as it was"


def test_noise_is_as_loud_as_asked_and_spread_over_bands_by_their_width() -> None:
    widths = torch.tensor([1.0, 4.0, 16.0])
    features = torch.zeros(20_000, 3) + torch.tensor([0.0, -9.0, -9.0])
    draws = torch.Generator().manual_seed(0)
    snr = 10 + 30 * torch.rand((), generator=torch.Generator().manual_seed(0)).item()

    noise = add_noise(features, widths, draws, least_snr=10).exp() - features.exp()

    speech = features.exp().sum(1).mean()
    assert 10 * math.log10(speech / noise.sum(1).mean()) == pytest.approx(snr, abs=0.2)
    shares = noise.mean(0) / noise.mean(0).sum()
    assert shares.tolist() == pytest.approx([1 / 21, 4 / 21, 16 / 21], abs=0.01)


def test_buckets_hold_every_row_once_and_neighbours_are_of_similar_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 1000, 333)

    order = bucketed_order(lengths, batch_size=10, seed=0, epoch=0)

    assert sorted(order.tolist()) == list(range(333))
    spread = [np.ptp(lengths[order[start : start + 10]]) for start in range(0, 330, 10)]
    assert np.median(spread) < 120
    assert bucketed_order(lengths, batch_size=10, seed=0, epoch=0).tolist() == order.tolist()
    assert bucketed_order(lengths, batch_size=10, seed=0, epoch=1).tolist() != order.tolist()
    assert len(bucketed_order(lengths[:4], batch_size=10, seed=0, epoch=0)) == 4

"""Mixup and CutMix: what is blended, with what weight, and that the labels' shares are those of the pixels."""

import numpy as np
import pytest
import torch

from trainer.data.mixing import cut_mix, mix_up


def test_mixup_blends_pairs_by_their_share() -> None:
    planes = torch.rand(200, 1, 3, 3)

    mixed = mix_up(planes, np.random.default_rng(0), alpha=1.0)

    weights = mixed.share.view(-1, 1, 1, 1)
    assert torch.allclose(mixed.images, weights * planes + (1 - weights) * planes[mixed.partners])
    assert sorted(mixed.partners.tolist()) == list(range(200))
    assert mixed.share.mean().item() == pytest.approx(0.5, abs=0.05)  # Beta(1, 1) is uniform
    assert mixed.share.std().item() == pytest.approx(12**-0.5, abs=0.03)


def test_a_small_alpha_hardly_blends() -> None:
    mixed = mix_up(torch.rand(500, 1, 1, 1), np.random.default_rng(0), alpha=0.1)

    assert ((mixed.share < 0.1) | (mixed.share > 0.9)).float().mean() > 0.7


def test_cutmix_pastes_one_rectangle_and_the_share_counts_its_pixels() -> None:
    images = torch.arange(60, dtype=torch.uint8).view(60, 1, 1, 1).expand(60, 9, 12, 2).contiguous()

    mixed = cut_mix(images, np.random.default_rng(0), alpha=1.0)

    for number, (image, partner, share) in enumerate(zip(mixed.images, mixed.partners.tolist(), mixed.share.tolist(), strict=True)):
        pasted = (image == partner).all(2) if partner != number else torch.zeros(9, 12, dtype=torch.bool)
        assert torch.equal((image == number).all(2), ~pasted)
        if partner != number:
            assert share == pytest.approx(1 - pasted.float().mean().item())
        lines, columns = pasted.any(1).nonzero().flatten(), pasted.any(0).nonzero().flatten()
        assert pasted.sum() == len(lines) * len(columns)
        assert (lines.diff() == 1).all()
        assert (columns.diff() == 1).all()
    assert 0.4 < mixed.share.mean() < 0.8


def test_the_same_generator_mixes_the_same() -> None:
    images = torch.randint(0, 256, (8, 5, 5, 1), dtype=torch.uint8)
    one, two = (cut_mix(images, np.random.default_rng(7), 1.0) for _ in range(2))

    assert torch.equal(one.images, two.images)
    assert torch.equal(one.share, two.share)

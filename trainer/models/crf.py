"""Linear-chain conditional random fields (Lafferty et al. 2001) over BIO tags: how likely a sequence of tags is, and the best one.

Tags are numbered O, B-a, I-a, B-b, I-b, ... Shapes: N sentences, W words of the longest, K tags. ``steps`` (K + 2, K) are the
scores of a tag (column) behind another (row); row K is that of the first tag, row K + 1 that of the last one. ``mask`` (N, W)
is true on words, which come before all padding.
"""

import torch

FORBIDDEN = -1e4  # finite, so that no gradient is lost in infinities


def bio_steps(num_types: int) -> torch.Tensor:
    """0 where a tag may follow, FORBIDDEN where an I- tag would continue nothing of its type: (K + 2, K), K = 2 num_types + 1."""
    num_tags = 2 * num_types + 1
    steps = torch.zeros(num_tags + 2, num_tags)
    for inside in range(2, num_tags, 2):
        steps[: num_tags + 1, inside] = FORBIDDEN
        steps[[inside - 1, inside], inside] = 0.0
    return steps


def log_likelihood(emissions: torch.Tensor, steps: torch.Tensor, tags: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Of ``tags`` (N, W), any number on padding, under ``emissions`` (N, W, K): (N,)."""
    return _score(emissions, steps, tags, mask) - _partition(emissions, steps, mask)


def best_tags(emissions: torch.Tensor, steps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The likeliest tags (N, W), by Viterbi's algorithm; 0 on padding."""
    num_tags = emissions.shape[2]
    score = steps[num_tags] + emissions[:, 0]
    came_from = []
    for place in range(1, emissions.shape[1]):
        best, before = (score.unsqueeze(2) + steps[:num_tags]).max(dim=1)
        is_word = mask[:, place, None]
        score = torch.where(is_word, best + emissions[:, place], score)
        # On padding every tag came from itself, so that walking back goes through it.
        came_from.append(torch.where(is_word, before, torch.arange(num_tags, device=before.device)))
    tag = (score + steps[num_tags + 1]).argmax(dim=1)
    tags = [tag]
    for before in reversed(came_from):
        tag = before.gather(1, tag.unsqueeze(1)).squeeze(1)
        tags.append(tag)
    return torch.stack(tags[::-1], dim=1) * mask


def _score(emissions: torch.Tensor, steps: torch.Tensor, tags: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    num_tags = emissions.shape[2]
    tags = tags.clamp(min=0)
    own = emissions.gather(2, tags.unsqueeze(2)).squeeze(2)
    behind = steps[tags[:, :-1], tags[:, 1:]]
    last = tags.gather(1, mask.sum(1, keepdim=True) - 1).squeeze(1)
    ends = steps[num_tags, tags[:, 0]] + steps[num_tags + 1, last]
    score: torch.Tensor = (own * mask).sum(1) + (behind * mask[:, 1:]).sum(1) + ends
    return score


def _partition(emissions: torch.Tensor, steps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The logarithm of the sum over all sequences of tags, by the forward algorithm."""
    num_tags = emissions.shape[2]
    score = steps[num_tags] + emissions[:, 0]
    for place in range(1, emissions.shape[1]):
        longer = torch.logsumexp(score.unsqueeze(2) + steps[:num_tags], dim=1) + emissions[:, place]
        score = torch.where(mask[:, place, None], longer, score)
    return torch.logsumexp(score + steps[num_tags + 1], dim=1)

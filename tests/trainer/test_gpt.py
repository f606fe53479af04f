"""The decoder of our own: causal, tied, initialised as GPT-2 is, and counted right; and sampling from it."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainer.models import build
from trainer.models.attention import SelfAttention
from trainer.models.generate import generate
from trainer.models.gpt import GPT

SHAPE: dict[str, Any] = {"vocabulary": 17, "context": 12, "num_layers": 2, "num_heads": 2, "width": 16}


def gpt(**changes: Any) -> GPT:
    torch.manual_seed(0)
    return GPT(**{**SHAPE, **changes}).eval()


def by_hand(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """The same model from its weights by plain formulas, with attention written out."""
    length = tokens.shape[1]
    x = model.tokens.weight[tokens] + model.positions.weight[:length]
    hidden = torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)
    for block in model.blocks:
        heads = []
        normed = functional.layer_norm(x, (16,), block.norm1.weight)
        for head, rows in enumerate(block.attention.qkv.weight.view(2, 3, 8, 16)):
            query, key, value = (normed @ part.T for part in rows)
            scores = (query @ key.mT / math.sqrt(8)).masked_fill(hidden, -torch.inf)
            heads.append(scores.softmax(-1) @ value)
            assert head < 2
        x = x + torch.cat(heads, -1) @ block.attention.out.weight.T
        normed = functional.layer_norm(x, (16,), block.norm2.weight)
        x = x + functional.gelu(normed @ block.feed_forward.up.weight.T) @ block.feed_forward.down.weight.T
    logits: torch.Tensor = functional.layer_norm(x, (16,), model.norm.weight) @ model.tokens.weight.T
    return logits


def test_it_computes_what_the_formulas_say() -> None:
    model, tokens = gpt(), torch.randint(17, (3, 12))
    with torch.no_grad():
        for parameter in model.parameters():  # large enough that a mistake would show
            parameter.add_(torch.randn_like(parameter) * 0.3)
    torch.testing.assert_close(model(tokens), by_hand(model, tokens), rtol=1e-4, atol=1e-4)


def test_no_token_sees_a_later_one() -> None:
    model, tokens = gpt(), torch.randint(17, (1, 12))
    changed = tokens.clone()
    changed[0, 7] = (changed[0, 7] + 1) % 17
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_it_starts_with_gpt2s_deviations_and_knows_nothing() -> None:
    model: Any = gpt(width=128, num_heads=4, vocabulary=64, num_layers=8)
    assert model.tokens.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.blocks[0].attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.blocks[0].feed_forward.down.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    tokens = torch.randint(64, (8, 13))
    loss = functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(64), abs=0.1)


def test_the_output_is_the_embedding_and_stands_once_among_the_weights() -> None:
    model = gpt(bias=True)
    assert model.state_dict().keys() == dict(model.named_parameters()).keys()
    assert sum(p.shape == (17, 16) for p in model.parameters()) == 1
    assert any(name.endswith("norm1.bias") for name in model.state_dict())


def test_flops_are_six_per_weight_and_attentions() -> None:
    model = gpt()
    weights = sum(p.numel() for name, p in model.named_parameters() if name != "positions.weight")
    assert model.flops_per_token(12) == 6 * weights + 12 * 2 * 16 * 12


def test_it_is_built_from_json_and_a_part_of_a_block_is_a_share_of_its_heads() -> None:
    model: Any = build({"family": "gpt", **SHAPE})
    attention = model.blocks[0].attention
    whole = attention(torch.ones(1, 3, 16))
    halves = []
    for head in range(2):  # what two ranks with tensor parallelism compute, summed
        part: Any = SelfAttention(16, 2, dropout=0.0, bias=False)
        part.qkv = nn.Linear(16, 24, bias=False)
        part.out = nn.Linear(8, 16, bias=False)
        part.qkv.weight = nn.Parameter(attention.qkv.weight[head * 24 : (head + 1) * 24])
        part.out.weight = nn.Parameter(attention.out.weight[:, head * 8 : (head + 1) * 8])
        halves.append(part(torch.ones(1, 3, 16)))
    torch.testing.assert_close(whole, halves[0] + halves[1])
    assert set(model.tensor_parallel_plan()) == {"attention.qkv", "attention.out", "feed_forward.up", "feed_forward.down"}


class Counter(nn.Module):
    """Always says that the next token is one more, with 2 to 1 against the one after that."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        right = functional.one_hot((tokens + 1) % 10, 10).float()
        return (right * 2 + functional.one_hot((tokens + 2) % 10, 10)).clamp(min=1e-6).log()


def test_the_likeliest_token_is_taken_at_temperature_zero_and_with_top_k_one() -> None:
    prompt = torch.tensor([[3], [7]])
    assert generate(Counter(), prompt, 4, context=2, temperature=0.0).tolist() == [[3, 4, 5, 6, 7], [7, 8, 9, 0, 1]]
    assert generate(Counter(), prompt, 4, context=2, top_k=1).tolist() == [[3, 4, 5, 6, 7], [7, 8, 9, 0, 1]]


def test_tokens_are_drawn_by_their_chances_and_alike_from_one_seed() -> None:
    prompt = torch.zeros(3000, 1, dtype=torch.int64)
    found = [generate(Counter(), prompt, 1, context=4, draws=torch.Generator().manual_seed(5))[:, 1] for _ in range(2)]
    assert torch.equal(*found)
    assert (found[0] == 1).float().mean().item() == pytest.approx(2 / 3, abs=0.03)
    cold = generate(Counter(), prompt, 1, context=4, temperature=0.5, draws=torch.Generator().manual_seed(5))[:, 1]
    assert (cold == 1).float().mean().item() == pytest.approx(4 / 5, abs=0.03)


def test_a_row_that_has_ended_stays_so_and_all_ended_rows_end_it() -> None:
    found = generate(Counter(), torch.tensor([[3], [6]]), 9, context=4, temperature=0.0, stop=8)
    assert found.tolist() == [[3, 4, 5, 6, 7, 8], [6, 7, 8, 8, 8, 8]]

"""Continuing token sequences with a causal language model, one token at a time."""

import torch
from torch import nn


@torch.inference_mode()
def generate(
    model: nn.Module,
    prompt: torch.Tensor,
    num_tokens: int,
    *,
    context: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    stop: int | None = None,
    draws: torch.Generator | None = None,
) -> torch.Tensor:
    """``prompt`` (N, T), T >= 1, and up to ``num_tokens`` more on its right: (N, T + num_tokens) or less.

    The model, token numbers (N, T) to logits (N, T, V), sees the last ``context`` tokens only. Temperature 0 takes the likeliest
    token. Tokens are drawn on the CPU by ``draws``, so that every device and every rank with the same generator continues
    alike. Ends early when every row has given ``stop``; what follows it in a row is ``stop`` again.
    """
    tokens = prompt
    ended = torch.zeros(len(prompt), dtype=torch.bool)
    for _ in range(num_tokens):
        logits = model(tokens[:, -context:])[:, -1].float().cpu()
        new = _pick(logits, temperature, top_k, draws)
        if stop is not None:
            new = torch.where(ended, torch.full_like(new, stop), new)
            ended |= new == stop
        tokens = torch.cat([tokens, new.to(tokens.device).unsqueeze(1)], dim=1)
        if bool(ended.all()):
            break
    return tokens


def _pick(logits: torch.Tensor, temperature: float, top_k: int | None, draws: torch.Generator | None) -> torch.Tensor:
    """One token for each row of ``logits`` (N, V): (N,)."""
    if temperature == 0.0:
        return logits.argmax(dim=-1)
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    chances = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(chances, 1, generator=draws).squeeze(1)

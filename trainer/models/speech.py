"""A speech recogniser: convolutions that shorten the time, then a Transformer encoder, optionally with the Conformer's convolutions.

N utterances, T feature frames, B bands, S output frames, W width, K letters and the blank. Padding never reaches what counts.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from trainer.models.attention import attend


def real_frames(lengths: torch.Tensor, num_frames: int) -> torch.Tensor:
    """(N, num_frames), true where an utterance still lasts."""
    return torch.arange(num_frames, device=lengths.device) < lengths[:, None]


class Subsampling(nn.Module):
    """(N, T, B) to (N, S, W): a 3x3 convolution of stride 2 for each halving of the time, one that keeps it where none is asked for."""

    def __init__(self, num_mels: int, width: int, factor: int) -> None:
        super().__init__()
        channels = max(16, width // 4)
        self.time_strides = [2] * (factor.bit_length() - 1) or [1]
        sizes = [1, *[channels] * len(self.time_strides)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, channels, 3, stride=(stride, 2), padding=1)
            for before, stride in zip(sizes[:-1], self.time_strides, strict=True)
        )
        bands = num_mels
        for _ in self.time_strides:
            bands = (bands + 1) // 2
        self.out = nn.Linear(channels * bands, width)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The output and the (N,) frames of it that count."""
        x = features.unsqueeze(1)
        for convolution, stride in zip(self.convolutions, self.time_strides, strict=True):
            x = functional.relu(convolution(x))
            lengths = (lengths + stride - 1) // stride
            x = x * real_frames(lengths, x.shape[2])[:, None, :, None]
        return self.out(x.transpose(1, 2).flatten(2)), lengths


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise, pointwise (Gulati et al. 2020, section 2.2), with a layer norm where the paper has a batch norm."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.inner_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        gated = functional.glu(self.gate(self.norm(x)), dim=2) * real[:, :, None]
        mixed = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        y: torch.Tensor = self.dropout(self.out(functional.silu(self.inner_norm(mixed))))
        return y


class Block(nn.Module):
    """Pre-norm: attention, the convolution where there is one, feed-forward."""

    def __init__(self, width: int, num_heads: int, *, convolution: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.convolution = ConvolutionModule(width, convolution, dropout) if convolution else None
        self.norm = nn.LayerNorm(width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """(N, S, W) and (N, S)."""
        x = x + self.dropout(self._attend(self.attention_norm(x), real))
        if self.convolution is not None:
            x = x + self.convolution(x, real)
        hidden = self.dropout(functional.silu(self.expand(self.norm(x))))
        y: torch.Tensor = x + self.dropout(self.contract(hidden))
        return y

    def _attend(self, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        parts = (self.query(x), self.key(x), self.value(x))
        attended: torch.Tensor = self.out(attend(parts, num_heads=self.num_heads, mask=real[:, None, None, :]))
        return attended


class ConvTransformer(nn.Module):
    """(N, T, B) features, padded with 0, and the (N,) frames that count, to (N, S, K) logits; S is T / subsampling, rounded up."""

    head_names = ("head",)
    lora_targets = ("query", "key", "value", "out")

    def __init__(
        self,
        *,
        num_mels: int,
        num_outputs: int,
        width: int,
        num_layers: int,
        num_heads: int,
        subsampling: int,
        convolution: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width, self.subsampling = width, subsampling
        self.front = Subsampling(num_mels, width, subsampling)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, num_heads, convolution=convolution, dropout=dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x, lengths = self.front(features, lengths)
        real = real_frames(lengths, x.shape[1])
        x = self.dropout(x + positions(x.shape[1], self.width, x.device))
        for block in self.blocks:
            x = block(x, real)
        logits: torch.Tensor = self.head(self.norm(x))
        return logits

    def output_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """(N,) frames of the input to those of the output."""
        return (lengths + self.subsampling - 1) // self.subsampling


def positions(num_frames: int, width: int, device: torch.device) -> torch.Tensor:
    """(S, W): sines and cosines (Vaswani et al. 2017, arXiv:1706.03762, section 3.5)."""
    places = torch.arange(num_frames, device=device, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, width, 2, device=device, dtype=torch.float32) * (-math.log(10_000.0) / width))
    return torch.cat([(places * rates).sin(), (places * rates).cos()], dim=1)

"""A recurrent tagger: words by their embeddings and their letters (Ma and Hovy 2016, arXiv:1603.01354).

Shapes: N sentences, W words of the longest, C letters of the longest word, K tags.
"""

from typing import ClassVar

import torch
from torch import nn

from trainer.models.crf import bio_steps
from trainer.models.recurrent import Layer


class Letters(nn.Module):
    """Letters (N, W, C), 0 for none, to (N, W, channels): of each filter over three letters the strongest answer."""

    def __init__(self, num_characters: int, embedding: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_characters, embedding, padding_idx=0)
        self.filters = nn.Conv1d(embedding, channels, 3, padding=1)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        num_rows, num_words, num_letters = letters.shape
        flat = letters.reshape(num_rows * num_words, num_letters)
        answers = torch.relu(self.filters(self.embedding(flat).transpose(1, 2)))
        strongest: torch.Tensor = (answers * (flat != 0).unsqueeze(1)).amax(dim=2)
        return strongest.view(num_rows, num_words, -1)


class RecurrentTagger(nn.Module):
    """Word numbers (N, W), letters (N, W, C) and mask (N, W), true on words, to the scores of each tag (N, W, K); with a CRF also
    the scores of each tag behind each other (K + 2, K), see ``trainer.models.crf``."""

    head_names: ClassVar[tuple[str, ...]] = ("head.", "transitions")
    lora_targets: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        num_words: int,
        num_characters: int,
        num_types: int,
        embedding: int,
        character_embedding: int,
        character_channels: int,
        width: int,
        num_layers: int,
        dropout: float,
        crf: bool,
    ) -> None:
        super().__init__()
        num_tags = 2 * num_types + 1
        self.words = nn.Embedding(num_words, embedding, padding_idx=0)
        self.letters = Letters(num_characters, character_embedding, character_channels)
        sizes = [embedding + character_channels, *[2 * width] * (num_layers - 1)]
        self.blocks = nn.ModuleList(Layer("lstm", size, width, bidirectional=True) for size in sizes)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, num_tags)
        self.transitions = nn.Parameter(torch.zeros(num_tags + 2, num_tags)) if crf else None
        self.register_buffer("allowed", bio_steps(num_types))
        self.allowed: torch.Tensor
        nn.init.normal_(self.words.weight, std=0.1)

    def forward(self, words: torch.Tensor, letters: torch.Tensor, mask: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        places = torch.arange(words.shape[1], device=words.device)
        turned = torch.where(mask, mask.sum(1, keepdim=True) - 1 - places, places)
        x = self.dropout(torch.cat([self.words(words), self.letters(letters)], dim=2))
        for block in self.blocks:
            x = self.dropout(block(x, turned))
        emissions: torch.Tensor = self.head(x)
        return emissions if self.transitions is None else (emissions, self.transitions + self.allowed)

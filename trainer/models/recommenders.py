"""Recommenders: scores of users for items. N users, D width; items (N, M) are each user's own, items (M,) are the same for all.

User and item number 0 is unknown: its vector and its bias are 0 and stay 0.
"""

import torch
from torch import nn
from torch.nn import functional


def products(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """(N, D) and (N, M, D) or (M, D) to (N, M)."""
    return users @ items.T if items.dim() == 2 else (items @ users.unsqueeze(2)).squeeze(2)


class Recommender(nn.Module):
    """Embeddings and biases, and ``mean``, which is 0 for implicit feedback."""

    head_names: tuple[str, ...] = ()
    lora_targets: tuple[str, ...] = ()
    mean: torch.Tensor

    def __init__(self, *, num_users: int, num_items: int, width: int, mean: float, deviation: float) -> None:
        super().__init__()
        self.user_vectors, self.item_vectors = nn.Embedding(num_users, width, padding_idx=0), nn.Embedding(num_items, width, padding_idx=0)
        self.user_biases, self.item_biases = nn.Embedding(num_users, 1, padding_idx=0), nn.Embedding(num_items, 1, padding_idx=0)
        self.register_buffer("mean", torch.tensor(float(mean)))
        for table in (self.user_vectors, self.item_vectors):
            nn.init.normal_(table.weight[1:], std=deviation)
        for table in (self.user_biases, self.item_biases):
            nn.init.zeros_(table.weight)

    @property
    def blocks(self) -> list[nn.Module]:
        return []

    def biases(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """(N, M)."""
        both: torch.Tensor = self.mean + self.user_biases(users) + self.item_biases(items).squeeze(-1)
        return both


class MatrixFactorization(Recommender):
    """mean + b_u + b_i + p_u . q_i (Koren et al. 2009)."""

    def __init__(self, *, num_users: int, num_items: int, width: int, mean: float = 0.0) -> None:
        super().__init__(num_users=num_users, num_items=num_items, width=width, mean=mean, deviation=0.1 * width**-0.5)

    def forward(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        user_penalties: torch.Tensor | None = None,
        item_penalties: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """(N,) and (N, M) or (M,) numbers to (N, M) scores.

        With penalties, (N, 2) each, of biases and vectors: scores, and the (N,) weighted sums of squares of the users and of
        their first items (of the n-th item where all have the same).
        """
        p, q = self.user_vectors(users), self.item_vectors(items)
        scores = self.biases(users, items) + products(p, q)
        if user_penalties is None or item_penalties is None:
            return scores
        own = items[:, 0] if items.dim() == 2 else items
        return scores, self._squares(users, own, user_penalties, item_penalties)

    def _squares(
        self, users: torch.Tensor, items: torch.Tensor, user_penalties: torch.Tensor, item_penalties: torch.Tensor
    ) -> torch.Tensor:
        by_user = torch.cat([self.user_biases(users).square(), self.user_vectors(users).square().sum(1, keepdim=True)], dim=1)
        by_item = torch.cat([self.item_biases(items).square(), self.item_vectors(items).square().sum(1, keepdim=True)], dim=1)
        return (by_user * user_penalties + by_item * item_penalties).sum(1)


class Tower(nn.Module):
    """``depth`` layers behind an embedding; the last one is linear. Of depth 0, the embedding itself. 0 stays 0: no biases."""

    def __init__(self, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for position in range(depth):
            layers += [nn.Linear(width, width, bias=False)]
            layers += [nn.ReLU(), nn.Dropout(dropout)] if position < depth - 1 else []
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layers(x)
        return y


class TwoTower(Recommender):
    """What the towers make of a user and of an item, multiplied; plus the biases (Yi et al. 2019)."""

    def __init__(
        self,
        *,
        num_users: int,
        num_items: int,
        width: int,
        depth: int,
        dropout: float = 0.0,
        normalise: bool = False,
        temperature: float = 1.0,
        mean: float = 0.0,
    ) -> None:
        super().__init__(num_users=num_users, num_items=num_items, width=width, mean=mean, deviation=width**-0.5)
        self.user_tower, self.item_tower = Tower(width, depth, dropout), Tower(width, depth, dropout)
        self.dropout = nn.Dropout(dropout)
        self.normalise, self.temperature = normalise, temperature

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """(N,) and (N, M) or (M,) numbers to (N, M) scores."""
        p = self.user_tower(self.dropout(self.user_vectors(users)))
        q = self.item_tower(self.dropout(self.item_vectors(items)))
        if self.normalise:
            p, q = functional.normalize(p, dim=-1) / self.temperature, functional.normalize(q, dim=-1)
        return self.biases(users, items) + products(p, q)

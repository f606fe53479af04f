"""The two-layer network of the recipe for drills."""

from torch import nn


def build(*, num_inputs: int, num_hidden: int) -> nn.Module:
    """(N, num_inputs) to (N, 1)."""
    return nn.Sequential(nn.Linear(num_inputs, num_hidden), nn.ReLU(), nn.Linear(num_hidden, 1))

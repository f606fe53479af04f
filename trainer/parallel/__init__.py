"""Training on several ranks: who they are, how a model is spread over them, and what is known of it as a whole."""

from trainer.parallel.gradients import clip_gradient, gradient_norm, no_sync
from trainer.parallel.ranks import COLLECTIVE_TIMEOUT, Ranks, is_peer_loss, join_ranks, leave
from trainer.parallel.strategies import wrap
from trainer.parallel.weights import full_weights

__all__ = [
    "COLLECTIVE_TIMEOUT",
    "Ranks",
    "clip_gradient",
    "full_weights",
    "gradient_norm",
    "is_peer_loss",
    "join_ranks",
    "leave",
    "no_sync",
    "wrap",
]

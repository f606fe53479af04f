"""Walls around programs of strangers: another user, Landlock, limits; and what of them this node can offer."""

"""``trainyard up``: the whole service on one machine, each part a real process of its own under one parent."""

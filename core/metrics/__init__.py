"""Metric points: packed into blocks as they arrive, thinned when they are read."""

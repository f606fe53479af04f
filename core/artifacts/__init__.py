"""Bytes: a store for whole objects under their SHA-256, and the checkpoints and artifacts that name them."""

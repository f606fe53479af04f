"""Sections that recipes share: how to train, what to do with rows, how to judge, what to keep of a base model."""

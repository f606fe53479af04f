"""Data preparation: the materialised folder, its splits, the order of batches, and augmentation."""

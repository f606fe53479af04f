"""Text as models see it: tokenizers, cached token ids, batches of them, augmentation, and the columns it comes from."""

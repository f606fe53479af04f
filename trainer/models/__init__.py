"""Model definitions: plain modules that know nothing of training."""

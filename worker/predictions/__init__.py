"""Models that are tried out on this node: a process that holds the worker's token, and one that holds a model for each of them."""

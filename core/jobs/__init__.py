"""Jobs and their attempts: one verb per file; ``transitions`` is the only writer of a state."""

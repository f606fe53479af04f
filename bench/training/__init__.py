"""What the training engine reaches on real data, how fast it is beside hand-written loops, and what its services cost."""

"""What runs inside torchrun: the ranks of one attempt. torch lives here and nowhere else."""

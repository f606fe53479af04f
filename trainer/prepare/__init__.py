"""A new dataset out of another: what is read, one file for each family of steps, and what is written."""

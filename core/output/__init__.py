"""What ranks print: stored by byte offset while they run, one object per stream afterwards."""

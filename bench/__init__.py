"""Measurements. Every figure in RESULTS.md comes from here, as a ratio within one run wherever one makes sense."""

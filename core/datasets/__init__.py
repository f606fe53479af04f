"""Datasets: versions of files that never change, validated and prepared by jobs; one verb per file."""

"""Bytes over HTTP: ranges, downloads, archives, uploads."""

"""Models: names for packages, numbered versions of them, and aliases that say which version is used for what."""

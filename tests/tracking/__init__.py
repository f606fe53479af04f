"""The tracking server: what real clients tell it, what becomes of it, and what hostile ones cannot do."""

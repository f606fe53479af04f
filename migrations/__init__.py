"""Alembic's migrations of the ledger, importable so that one command applies them: see ``run``."""

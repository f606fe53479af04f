"""The ledger: tables, engine, and the two ways to open a transaction."""

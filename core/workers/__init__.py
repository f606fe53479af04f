"""The nodes as the ledger knows them: who is there, what they have, and whether they are being emptied."""

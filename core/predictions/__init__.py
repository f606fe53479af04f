"""Predictions: requests that wait in the ledger for a node that holds the model."""

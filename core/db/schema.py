"""Every table there is. Whoever needs the metadata whole takes it from here: a table that nobody has imported is not in it."""

from core.db import (
    dataset_tables,
    key_tables,
    model_tables,
    prediction_tables,
    retention_tables,
    secret_tables,
    tables,
    upload_tables,
)
from core.db.base import metadata

__all__ = [
    "dataset_tables",
    "key_tables",
    "metadata",
    "model_tables",
    "prediction_tables",
    "retention_tables",
    "secret_tables",
    "tables",
    "upload_tables",
]

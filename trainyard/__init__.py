"""Trainyard for those who use it: the client, and (as commands) ``trainyard`` and ``trainyard up``.

from trainyard import Client

with Client() as client:
    job = client.submit({"recipe": "image-classification", "dataset": {"builtin": "digits"}})
    job = client.wait(job.id)
    client.download(job.id, "digits")
"""

from trainyard.client import Client
from trainyard.errors import ApiError, ClientError

__all__ = ["ApiError", "Client", "ClientError"]

"""Uvicorn, with one thing added: when it is told to stop, those who wait for news are answered at once."""

import socket

import uvicorn
from fastapi import FastAPI

from core.settings import ApiSettings

STOP_SECONDS = 10


class Server(uvicorn.Server):
    """Long-polls and event streams end before uvicorn starts to wait for open connections."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._live = app.state.trainyard.live

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._live.close()
        await super().shutdown(sockets=sockets)


def make_server(app: FastAPI, settings: ApiSettings) -> Server:
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here asks where a request came from
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return Server(config, app)

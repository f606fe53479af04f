"""The composition root: which parts a server has, and how they start and stop. Read it top to bottom."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from fastapi import FastAPI

from api.auth import KeyCache
from api.deps import ApiState
from api.doorbell import Doorbell, make_bell
from api.errors import install_error_handlers
from api.headers import SecurityHeaders
from api.host_check import HostCheck
from api.live import Live
from api.maintenance import Maintenance
from api.measures import Measures
from api.openapi import install_openapi
from api.request_log import RequestLog
from api.routes import install_routes, templates
from api.shared_reads import SharedReads
from api.tailer import Tailer
from api.threads import provide_threads
from core.access.vault import Vault
from core.artifacts.open_store import open_keys, open_store
from core.clock import Clock, SystemClock
from core.db.engine import Database
from core.settings import ApiSettings


def create_app(settings: ApiSettings, *, clock: Clock | None = None) -> FastAPI:
    """A server of these settings. Nothing starts before its lifespan does; the ledger must be migrated."""
    state = assemble(settings, clock or SystemClock())
    app = FastAPI(
        title="Trainyard",
        version="0.1.0",
        summary="Training jobs over HTTP",
        docs_url=None,  # the pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        openapi_url="/openapi.json",
        lifespan=_lifespan,
        separate_input_output_schemas=False,
    )
    app.state.trainyard = state
    install_error_handlers(app)
    install_routes(app)
    install_openapi(app)
    # The last one added is the outermost.
    app.add_middleware(HostCheck, allowed=(settings.host, *settings.allowed_hosts))
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestLog, measures=state.measures, templates=templates())
    return app


def assemble(settings: ApiSettings, clock: Clock) -> ApiState:
    db = Database(settings.database_url.get_secret_value())
    measures = Measures()
    blob_keys = open_keys(settings, db, clock)
    broker_url = settings.broker_url.get_secret_value() if settings.broker_url else None
    return ApiState(
        settings=settings,
        db=db,
        clock=clock,
        keys=KeyCache(db, clock),
        reads=SharedReads(db),
        live=Live(),
        doorbell=Doorbell(make_bell(broker_url), measures),
        store=open_store(settings, blob_keys),
        blob_keys=blob_keys,
        measures=measures,
        vault=Vault(settings.master_key.get_secret_value()) if settings.master_key else None,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: ApiState = app.state.trainyard
    provide_threads()
    with ExitStack() as running:
        running.callback(state.db.dispose)
        running.enter_context(state.doorbell)
        running.enter_context(Maintenance(state))
        if not state.db.is_sqlite:
            running.callback(asyncio.create_task(Tailer(state.db, state.live).run()).cancel)
        yield
        state.live.close()

"""A small door beside a worker: whether it lives, whether it is ready, and its numbers. Nothing else is served."""

import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial

import uvicorn
from fastapi import FastAPI, Request, Response

from kneo_serv.errors import KneoError
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.platform import Platform
from kneo_serv.service.connections import bounded
from kneo_serv.service.errors import answer_to
from kneo_serv.service.limits import RequestLimits
from kneo_serv.service.readiness import Readiness
from kneo_serv.service.routes import METRICS, health
from kneo_serv.service.serve import address_of, listening, loop_kind
from kneo_serv.service.state import Service
from kneo_serv.settings import Settings

_START_SECONDS = 30.0
_STOP_SECONDS = 5


@contextlib.contextmanager
def answering(manager: PlatformManager, settings: Settings, *, host: str, port: int) -> Iterator[str]:
    """Answers at `host` and `port` until the end of the block, on a thread of its own; gives the address.

    Raises:
        ServeError: it cannot listen there.
    """
    with listening(host, port) as listener:
        config = uvicorn.Config(
            health_app(manager, settings),
            loop=loop_kind(),
            http=bounded(head_seconds=settings.request_head_seconds, max_head_bytes=RequestLimits().max_head_bytes),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        settled = threading.Event()
        server = _Server(config, settled)
        serve = partial(server.run, sockets=[listener])
        thread = threading.Thread(target=serve, name="kneo-health", daemon=True)
        thread.start()
        settled.wait(_START_SECONDS)
        try:
            yield address_of(listener)
        finally:
            server.should_exit = True
            thread.join(_STOP_SECONDS * 2)


def health_app(manager: PlatformManager, settings: Settings) -> FastAPI:
    """The app that answers /livez, /healthz, /readyz and, where metrics are wanted, /metrics."""
    service = Service(manager=manager, settings=settings)
    app = FastAPI(openapi_url=None, lifespan=partial(_counting, service))
    app.state.service = service
    app.state.readiness = Readiness(service)
    app.include_router(health.router)
    if settings.metrics_enabled:
        app.include_router(METRICS)
    app.add_exception_handler(KneoError, _refused)
    return app


@contextlib.asynccontextmanager
async def _counting(service: Service, app: FastAPI) -> AsyncIterator[None]:
    # What workers do is counted from their first run on, before anybody asks for a number.
    await service.reach(_nothing)
    yield


async def _nothing(platform: Platform) -> None:
    pass


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, KneoError)  # noqa: S101 - registered for these alone
    return answer_to(error)


class _Server(uvicorn.Server):
    """Says when it has started, or has failed to; then the manager's own start tells why."""

    def __init__(self, config: uvicorn.Config, settled: threading.Event) -> None:
        super().__init__(config)
        self._settled = settled

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self._settled.set()

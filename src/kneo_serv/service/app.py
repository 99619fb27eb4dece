"""The app: routes at the root and under /v1 over one platform."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from kneo_serv import __version__
from kneo_serv.errors import KneoError
from kneo_serv.observe import redact_error
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.platform import Platform
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.dependencies import get_auth_config, given_platform_manager
from kneo_serv.service.errors import answer_to, code_of, envelope, note_fault
from kneo_serv.service.factory import DEFAULT_STATE_PATH, create_default_platform_manager
from kneo_serv.service.limits import RequestLimits
from kneo_serv.service.openapi import describe, operation_id
from kneo_serv.service.rates import RateLimits, Rates
from kneo_serv.service.readiness import Readiness
from kneo_serv.service.request_ids import RequestIds
from kneo_serv.service.request_log import RequestLog
from kneo_serv.service.request_size import RequestSize
from kneo_serv.service.route_table import HeadAsGet, RouteTable, path_of
from kneo_serv.service.routes import METRICS, ROUTERS
from kneo_serv.service.schemas.shapes import MOST_FIELDS, TOO_MANY
from kneo_serv.service.state import Service
from kneo_serv.settings import Settings

MOST_FAULTS = 100
"""What is told of a request of the wrong form."""
TITLE = "Kneo Agent Platform API"
DESCRIPTION = """\
Durable agent workflows, with people in the loop.

Every path here stands at the root too. An error is told as `{"detail": {"error": code, "message": text, ...}}`; a body
or parameter of the wrong form as a list of `{"type", "loc", "msg"}`. Every answer names its request in `X-Request-ID`.
"""


def create_app(
    *,
    configure_default_manager: bool = False,
    state_path: str | Path = DEFAULT_STATE_PATH,
    manager: PlatformManager | None = None,
    make_manager: Callable[[], PlatformManager] | None = None,
    auth_config: AuthConfig | None = None,
    auth_enabled: bool | None = None,
    request_limits: RequestLimits | None = None,
    rate_limits: RateLimits | None = None,
    settings: Settings | None = None,
) -> FastAPI:
    """An app of its own: two apps share nothing but a manager that both are given.

    Args:
        configure_default_manager: Make the default manager with the first start, and shut it down with the last stop.
        state_path: Where that manager keeps its runs, unless KNEO_SERV_DATABASE_URL names a database.
        manager: The platform to serve. Without it, and without `configure_default_manager`, the one that
            `set_platform_manager` was given is served.
        make_manager: Makes the default manager, instead of `create_default_platform_manager`; implies
            `configure_default_manager`.
        auth_config: Keys. Without it they are read from the environment.
        auth_enabled: Wins over KNEO_SERV_AUTH_ENABLED.
        request_limits: Bounds of requests. Without them they are read from the environment.
        rate_limits: How often callers may ask. Without them they are read from the environment.
        settings: Everything else. Without them they are read from the environment.

    Raises:
        SettingsError: a variable has a value that cannot be used.
    """
    if configure_default_manager and make_manager is None:
        make_manager = partial(create_default_platform_manager, state_path=state_path)
    service = Service(
        manager=manager,
        auth=auth_config or get_auth_config() or AuthConfig.from_env(os.environ, enabled=auth_enabled),
        limits=request_limits or RequestLimits.from_env(os.environ),
        rates=Rates(rate_limits or RateLimits.from_env(os.environ)),
        settings=settings or Settings.from_env(os.environ),
    )
    if make_manager is None:
        service.otherwise = given_platform_manager
    app = FastAPI(
        title=TITLE,
        version=__version__,
        description=DESCRIPTION,
        lifespan=partial(_lifespan, service, make_manager),
        generate_unique_id_function=operation_id,
    )
    app.state.service = service
    app.state.readiness = Readiness(service)
    for router in ROUTERS:
        app.include_router(router, include_in_schema=False)
        app.include_router(router, prefix="/v1")
    if service.settings.metrics_enabled:
        app.include_router(METRICS)
    _guard(app, service)
    describe(app)
    app.add_exception_handler(KneoError, _refused)
    app.add_exception_handler(RequestValidationError, _misshapen)
    app.add_exception_handler(HTTPException, _unrouted)
    return app


@asynccontextmanager
async def _lifespan(
    service: Service, make_manager: Callable[[], PlatformManager] | None, app: FastAPI
) -> AsyncIterator[None]:
    own, service.draining = None, False
    if service.manager is None and make_manager is not None:
        own = service.manager = await anyio.to_thread.run_sync(make_manager)
    try:
        if service.manager or service.otherwise():
            # Opens the store, and begins to count what its workers do, before anybody asks for anything.
            await service.reach(_nothing)
        yield
    finally:
        service.drain()
        await service.refusals.close()
        if own is not None:
            await anyio.to_thread.run_sync(own.shutdown)
            service.manager = None


async def _nothing(platform: Platform) -> None:
    pass


def _guard(app: FastAPI, service: Service) -> None:
    mounted = [("", app.routes)]
    mounted += [(prefix, router.routes) for router in ROUTERS for prefix in ("", "/v1")]
    if service.settings.metrics_enabled:
        mounted.append(("", METRICS.routes))
    table = app.state.route_table = RouteTable.of(mounted)
    # What is added last is asked first.
    app.add_middleware(HeadAsGet)
    app.add_middleware(
        RequestSize, max_bytes=service.limits.max_body_bytes, seconds=service.settings.request_body_seconds
    )
    app.add_middleware(RequestLog, routes=table, lines=service.settings.request_logs, measure=service.metrics.requested)
    app.add_middleware(RequestIds)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, KneoError)  # noqa: S101 - registered for these alone
    code = code_of(error)
    if code == "queue_full":
        request.app.state.service.metrics.rejected()
    note_fault(request.scope, code, error.message)
    return answer_to(error)


async def _misshapen(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for these alone
    faults: Sequence[Any] = error.errors()[:MOST_FAULTS]
    if any(one["type"] == TOO_MANY and one["loc"][0] == "query" for one in faults):
        message = f"Unknown query parameters: a query has at most {MOST_FIELDS} parameters."
        note_fault(request.scope, "unknown_query_parameters", message)
        return envelope(422, "unknown_query_parameters", message)
    unknown = sorted(
        str(one["loc"][-1]) for one in faults if one["type"] == "extra_forbidden" and one["loc"][0] == "query"
    )
    if unknown:
        message = f"Unknown query parameters: {', '.join(unknown)}."
        note_fault(request.scope, "unknown_query_parameters", message)
        return envelope(422, "unknown_query_parameters", message, unknown=unknown)
    shown = [{key: one[key] for key in ("type", "loc", "msg") if key in one} for one in faults]
    return JSONResponse({"detail": shown}, 422)


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these alone
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    message, headers = redact_error(str(error.detail)), dict(error.headers or {})
    if code == "not_found":
        message = "There is nothing at this path."
    elif code == "method_not_allowed":
        allowed = request.app.state.route_table.allowed(path_of(request.scope))
        message = f"This path answers to {', '.join(allowed)} only."
        headers = {"Allow": ", ".join(allowed)}
    note_fault(request.scope, code, message)
    return envelope(error.status_code, code, message, headers=headers)


def __getattr__(name: str) -> Any:
    # Made when a server asks for it: importing this module opens nothing.
    if name == "app":
        made = globals()["app"] = create_app(configure_default_manager=True)
        return made
    raise AttributeError(name)

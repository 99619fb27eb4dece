"""The app: routes at the root and under /v1 over one platform."""

import os
from collections.abc import AsyncIterator, Sequence
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
from kneo_serv.platform import PlatformManager
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.dependencies import get_auth_config, given_platform_manager
from kneo_serv.service.errors import INTERNAL, answer_to, envelope, log
from kneo_serv.service.factory import DEFAULT_STATE_PATH, create_default_platform_manager
from kneo_serv.service.limits import RequestLimits
from kneo_serv.service.rates import RateLimits, Rates
from kneo_serv.service.routes import ROUTERS
from kneo_serv.service.state import Service

TITLE = "Kneo Agent Platform API"


def create_app(
    *,
    configure_default_manager: bool = False,
    state_path: str | Path = DEFAULT_STATE_PATH,
    manager: PlatformManager | None = None,
    auth_config: AuthConfig | None = None,
    auth_enabled: bool | None = None,
    request_limits: RequestLimits | None = None,
    rate_limits: RateLimits | None = None,
) -> FastAPI:
    """An app of its own: two apps share nothing but a manager that both are given.

    Args:
        configure_default_manager: Make the default manager with the first start, and shut it down with the last stop.
        state_path: Where that manager keeps its runs, unless KNEO_SERV_DATABASE_URL names a database.
        manager: The platform to serve. Without it, and without `configure_default_manager`, the one that
            `set_platform_manager` was given is served.
        auth_config: Keys. Without it they are read from the environment.
        auth_enabled: Wins over KNEO_SERV_AUTH_ENABLED.
        request_limits: Bounds of requests. Without them they are read from the environment.
        rate_limits: How often callers may ask. Without them they are read from the environment.

    Raises:
        SettingsError: a variable has a value that cannot be used.
    """
    auth = auth_config or get_auth_config() or AuthConfig.from_env(os.environ, enabled=auth_enabled)
    service = Service(
        manager=manager or (None if configure_default_manager else given_platform_manager()),
        auth=auth,
        limits=request_limits or RequestLimits.from_env(os.environ),
        rates=Rates(rate_limits or RateLimits.from_env(os.environ)),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        own = None
        if service.manager is None and configure_default_manager:
            make = partial(create_default_platform_manager, state_path=state_path)
            own = service.manager = await anyio.to_thread.run_sync(make)
        try:
            yield
        finally:
            await service.refusals.close()
            if own is not None:
                await anyio.to_thread.run_sync(own.shutdown)
                service.manager = None

    app = FastAPI(title=TITLE, version=__version__, lifespan=lifespan)
    app.state.service = service
    for prefix in ("", "/v1"):
        for router in ROUTERS:
            app.include_router(router, prefix=prefix)
    app.add_exception_handler(KneoError, _refused)
    app.add_exception_handler(RequestValidationError, _misshapen)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(Exception, _failed)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, KneoError)  # noqa: S101 - registered for these alone
    return answer_to(error)


async def _misshapen(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for these alone
    faults: Sequence[Any] = error.errors()
    unknown = sorted(
        str(one["loc"][-1]) for one in faults if one["type"] == "extra_forbidden" and one["loc"][0] == "query"
    )
    if unknown:
        message = f"Unknown query parameters: {', '.join(unknown)}."
        return envelope(422, "unknown_query_parameters", message, unknown=unknown)
    shown = [{key: one[key] for key in ("type", "loc", "msg") if key in one} for one in faults]
    return JSONResponse({"detail": shown}, 422)


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these alone
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    return envelope(error.status_code, code, str(error.detail), headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("internal error: %s", type(error).__name__, exc_info=error)
    return envelope(500, "internal_error", INTERNAL)


def __getattr__(name: str) -> Any:
    # Made when a server asks for it: importing this module opens nothing.
    if name == "app":
        made = globals()["app"] = create_app(configure_default_manager=True)
        return made
    raise AttributeError(name)

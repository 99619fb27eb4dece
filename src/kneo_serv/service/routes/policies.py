"""What environments demand of specs: read, set, and previewed."""

from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Path, Query

from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.errors import RequestRefused
from kneo_serv.service.limits import RequestLimits
from kneo_serv.service.schemas.bounds import Bounds
from kneo_serv.service.schemas.policies import (
    EnvironmentPolicyListResponse,
    EnvironmentPolicyPreviewResponse,
    EnvironmentPolicyRequest,
    EnvironmentPolicyResponse,
)
from kneo_serv.service.schemas.shapes import ERRORS, NoQuery

router = APIRouter(tags=["policies"], route_class=ScopedRoute)

PREVIEWS_AT_ONCE = 1
"""Each compiles up to 500 specs; more of them at once would only slow one another down."""

Environment = Annotated[str, Path(min_length=1, max_length=128, description="Name of the environment.")]
_previewing: RunVar[CapacityLimiter] = RunVar("previewing")


@router.get(
    "/policies/environment",
    response_model=EnvironmentPolicyListResponse,
    responses=ERRORS,
    openapi_extra=needs("policies:read"),
)
async def list_environment_policies(
    query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """The policies of all environments that have one."""
    policies = await anyio.to_thread.run_sync(service.platform.list_environment_policies)
    return {"policies": {name: policy.model_dump() for name, policy in policies.items()}, "count": len(policies)}


@router.get(
    "/policies/environment/{environment}",
    response_model=EnvironmentPolicyResponse,
    responses=ERRORS,
    openapi_extra=needs("policies:read"),
)
async def get_environment_policy(
    environment: Environment, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """The policy of one environment; null where none is set."""
    policy = await anyio.to_thread.run_sync(service.platform.get_environment_policy, environment)
    return {
        "environment": environment,
        "policy": None if policy is None else policy.model_dump(),
        "previous_policy": None,
    }


@router.put(
    "/policies/environment/{environment}",
    response_model=EnvironmentPolicyResponse,
    responses=ERRORS,
    openapi_extra=needs("policies:write"),
)
async def put_environment_policy(
    environment: Environment,
    body: EnvironmentPolicyRequest,
    query: Annotated[NoQuery, Query()],
    service: TheService,
    caller: Caller,
) -> dict[str, Any]:
    """Sets the whole policy of an environment, for all runs that begin from now on."""
    _check(body, service.limits)
    _refuse_tenants(caller)
    put = partial(service.platform.set_environment_policy, environment, body.model_dump(), actor=caller.name)
    previous, policy = await anyio.to_thread.run_sync(put)
    return {
        "environment": environment,
        "policy": policy.model_dump(),
        "previous_policy": None if previous is None else previous.model_dump(),
    }


@router.post(
    "/policies/environment/{environment}/preview",
    response_model=EnvironmentPolicyPreviewResponse,
    responses=ERRORS,
    openapi_extra=needs("policies:read"),
)
async def preview_environment_policy(
    environment: Environment,
    body: EnvironmentPolicyRequest,
    query: Annotated[NoQuery, Query()],
    service: TheService,
    caller: Caller,
) -> dict[str, Any]:
    """What this policy would change, and which of the environment's newest runs it would refuse; nothing is stored."""
    _check(body, service.limits)
    preview = partial(service.platform.preview_environment_policy, environment, body.model_dump(), tenant=caller.tenant)
    return await anyio.to_thread.run_sync(preview, limiter=_limiter())


def _check(body: EnvironmentPolicyRequest, limits: RequestLimits) -> None:
    bounds = Bounds()
    bounds.items("blocked_diagnostic_codes", body.blocked_diagnostic_codes, limits.max_list_items)
    for place, code in enumerate(body.blocked_diagnostic_codes):
        bounds.chars("blocked_diagnostic_codes", code, limits.max_path_chars, place)
    bounds.check()


def _refuse_tenants(caller: AuthPrincipal) -> None:
    if caller.tenant is not None:
        raise RequestRefused(
            "forbidden",
            "Policies of environments hold for all tenants: a key that is confined to one cannot set them.",
            required_scope="policies:write",
        )


def _limiter() -> CapacityLimiter:
    try:
        return _previewing.get()
    except LookupError:
        made = CapacityLimiter(PREVIEWS_AT_ONCE)
        _previewing.set(made)
        return made

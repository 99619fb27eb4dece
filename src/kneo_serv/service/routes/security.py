"""Which credentials the service has, told without their values."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query

from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.credentials import SecretResolver
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.schemas.bounds import Bounds
from kneo_serv.service.schemas.security import CredentialInventoryResponse, CredentialQuery
from kneo_serv.service.schemas.shapes import ERRORS

router = APIRouter(tags=["security"], route_class=ScopedRoute)


@router.get(
    "/security/credentials",
    response_model=CredentialInventoryResponse,
    responses=ERRORS,
    openapi_extra=needs("credentials:read"),
)
async def list_credentials(
    query: Annotated[CredentialQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """The inventory of credentials: where each is looked for, and whether it is there. Who looked is audited."""
    bounds = Bounds("query")
    for name, asked in (("providers", query.providers or ()), ("extras", query.extras or ())):
        bounds.items(name, asked, service.limits.max_list_items)
        for place, text in enumerate(asked):
            bounds.chars(name, text, service.limits.max_path_chars, place)
    bounds.check()
    found = SecretResolver().inventory(
        providers=query.providers or None, extras=query.extras, include_service_tokens=query.include_service_tokens
    )
    providers, extra, tokens = found["providers"], found["extra"], found["service_tokens"]
    facts = {
        "providers_requested": query.providers,
        "extras_requested": query.extras,
        "include_service_references": query.include_service_tokens,
        "provider_count": len(providers),
        "extra_count": len(extra),
        "service_reference_count": len(tokens),
        "providers_present": _present(providers),
        "extras_present": _present(extra),
        "service_references_present": _present(tokens),
    }
    await service.reach(
        lambda platform: platform.audit(
            "credential.inventory_accessed", actor=caller.name, metadata=facts, tenant=caller.tenant
        )
    )
    return {"inventory": {section: _told(entries) for section, entries in found.items()}}


def _told(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            **entry,
            "status": "present" if entry["present"] else "missing",
            "expires_at": None,
            "last_checked": None,
        }
        for name, entry in entries.items()
    }


def _present(entries: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(1 for entry in entries.values() if entry["present"])

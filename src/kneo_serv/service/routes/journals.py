"""Whether the journals are sound."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from kneo_serv.observe import redact_text
from kneo_serv.platform.doctor import look_through
from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.listing import Order
from kneo_serv.service.schemas.journals import JournalFindingsResponse, JournalQuery
from kneo_serv.service.schemas.shapes import ERRORS, ListQuery

router = APIRouter(tags=["audit-events"], route_class=ScopedRoute)

_ORDER = Order("created_at", descending=True)


@router.get(
    "/journals/findings", response_model=JournalFindingsResponse, responses=ERRORS, openapi_extra=needs("audit:read")
)
async def list_journal_findings(
    query: Annotated[JournalQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """What is wrong with the journals of runs, the newest first; nothing is changed. Reading many takes its time."""
    after = _ORDER.behind(ListQuery(cursor=query.cursor))
    look = await service.reach(
        lambda platform: look_through(platform.store, limit=query.limit, after=after, tenant=caller.tenant)
    )
    found = [{**asdict(one), "message": redact_text(one.message)} for one in look.findings]
    last = look.last if look.checked == query.limit else None
    return {
        "findings": found,
        "count": len(found),
        "checked": look.checked,
        "next_cursor": None if last is None else _ORDER.cursor(last.value, last.id),
    }

"""Who did what."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import AuditFilter, Cursor, Page
from kneo_serv.platform import views
from kneo_serv.platform.platform import Platform
from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.listing import WINDOW, Order, listing, page_of
from kneo_serv.service.off_loop import off_loop
from kneo_serv.service.schemas.audit import AuditEventListResponse, AuditQuery
from kneo_serv.service.schemas.shapes import ERRORS
from kneo_serv.service.timestamps import since, until

router = APIRouter(tags=["audit-events"], route_class=ScopedRoute)

_AT_ONCE = 1000


@router.get("/audit-events", response_model=AuditEventListResponse, responses=ERRORS, openapi_extra=needs("audit:read"))
async def list_audit_events(
    query: Annotated[AuditQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """Audit events, the newest first."""
    wanted = AuditFilter(
        event_type=query.event_type,
        run_id=None if query.run_id is None else RunId(query.run_id),
        actor=query.actor,
        created_after=since("created_after", query.created_after),
        created_before=until("created_before", query.created_before),
        tenant=caller.tenant,
    )
    order = Order.of(query, "created_at", descending=True)
    indexed = order.sort_by == "created_at"
    page = Page(query.limit, query.offset, "created_at", order.descending, order.behind(query))

    async def look(platform: Platform) -> tuple[Sequence[AuditEvent], int]:
        found = await platform.store.list_audit(wanted, page) if indexed else await _window(platform, wanted)
        return found, await platform.store.count_audit(wanted, at_most=WINDOW)

    found, total = await service.reach(look)
    if not indexed:
        rows = await off_loop(lambda: page_of(found, views.audit_view, query, order))
        return listing("events", rows, query, order, total=total)
    full = len(found) == query.limit
    cursor = order.cursor(found[-1].created_at, found[-1].id) if full else None
    return listing(
        "events", [views.audit_view(event) for event in found], query, order, total=total, next_cursor=cursor
    )


async def _window(platform: Platform, wanted: AuditFilter) -> list[AuditEvent]:
    """The newest events, as many as are sorted where no index serves the sort."""
    found: list[AuditEvent] = []
    after: Cursor | None = None
    while len(found) < WINDOW:
        page = Page(_AT_ONCE, 0, "created_at", descending=True, after=after)
        rows = await platform.store.list_audit(wanted, page)
        found += rows
        if len(rows) < _AT_ONCE:
            break
        after = Cursor(rows[-1].created_at, rows[-1].id)
    return found

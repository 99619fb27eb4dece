"""What happens, as it happens: server-sent events of one run, and of all runs."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from kneo_serv.model.ids import RunId
from kneo_serv.platform.feed import FeedFilter
from kneo_serv.service.admission import ScopedRoute, needs, still_admitted
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.event_stream import EventStream
from kneo_serv.service.followings import FeedFollowing, RunFollowing, place_of, position_of
from kneo_serv.service.schemas.events import EVENTS, RUN_EVENTS, EventsQuery, RunEventsQuery
from kneo_serv.service.schemas.shapes import ERRORS
from kneo_serv.service.starting import visible

router = APIRouter(tags=["events"], route_class=ScopedRoute)

_SCOPE = "runs:read"

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="The id of the last event that was heard; wins over `after`. Browsers send it by themselves.",
    ),
]


@router.get(
    "/runs/{run_id}/events", response_class=Response, responses={**ERRORS, **RUN_EVENTS}, openapi_extra=needs(_SCOPE)
)
async def stream_run_events(
    run_id: str,
    query: Annotated[RunEventsQuery, Query()],
    request: Request,
    service: TheService,
    caller: Caller,
    last_event_id: LastEventId = None,
) -> Response:
    """What happens in a run, its past first, up to its end: the rows of its trace, and what its models say."""
    after = place_of(last_event_id, query.after)
    record = await service.reach(lambda platform: visible(platform, RunId(run_id), caller))
    following = RunFollowing(record, after=after, until=query.until, deltas=query.deltas, types=query.event_type)
    return EventStream(service, following, admitted=partial(still_admitted, request, caller, _SCOPE))


@router.get("/events", response_class=Response, responses={**ERRORS, **EVENTS}, openapi_extra=needs(_SCOPE))
async def stream_events(
    query: Annotated[EventsQuery, Query()],
    request: Request,
    service: TheService,
    caller: Caller,
    last_event_id: LastEventId = None,
) -> Response:
    """What happens in all runs that the caller may see, in short, from now on or from where it left off."""
    wanted = position_of(last_event_id, query.after)
    chosen = FeedFilter(
        run_ids=frozenset(query.run_id),
        types=frozenset(query.event_type),
        statuses=frozenset(query.status),
        workflow_names=frozenset(query.workflow_name),
        agent_names=frozenset(query.agent_name),
        session_ids=frozenset(query.session_id),
        tenant=caller.tenant,
    )
    position = await service.reach(lambda platform: platform.feed_position(wanted))
    following = FeedFollowing(chosen, after=position)
    return EventStream(service, following, admitted=partial(still_admitted, request, caller, _SCOPE))

"""Runs: starting, listing, looking up, ending and continuing them."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from kneo_serv.model.ids import RunId
from kneo_serv.model.run import RunRecord
from kneo_serv.observe.trace_context import TRACEPARENT, TRACESTATE
from kneo_serv.platform.export import some
from kneo_serv.platform.platform import Platform
from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.answers import as_json, told_by_door
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.idempotency import RUNS_CREATE, KeyHeader
from kneo_serv.service.listing import Order
from kneo_serv.service.off_loop import off_loop
from kneo_serv.service.pages import filter_of, read_page
from kneo_serv.service.pages import shown as shown_page
from kneo_serv.service.schemas.runs import (
    ContinueQuery,
    GetRunQuery,
    RunCreateRequest,
    RunCreateResponse,
    RunDeleteResponse,
    RunListResponse,
    RunsQuery,
    RunStatusResponse,
)
from kneo_serv.service.schemas.shapes import ERRORS, NoQuery
from kneo_serv.service.starting import continue_run as go_on_with
from kneo_serv.service.starting import start_run, visible

router = APIRouter(tags=["runs"], route_class=ScopedRoute)

NDJSON = "application/x-ndjson"

STARTED: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    202: {"model": RunCreateResponse, "description": "The run waits for people, or goes on"},
}
"""`responses=` of routes that are answered when a run rests."""


@router.post("/runs", response_model=RunCreateResponse, responses=STARTED, openapi_extra=needs("runs:write"))
async def create_run(
    asked: RunCreateRequest,
    query: Annotated[NoQuery, Query()],
    request: Request,
    service: TheService,
    caller: Caller,
    idempotency_key: KeyHeader = None,
) -> Response:
    """Starts a run; answers when it ends (200), waits for people, or outlasts the caller's patience (202)."""
    return await start_run(
        service, caller, asked, scope=RUNS_CREATE, given_key=idempotency_key, trace=trace_of(request)
    )


@router.get("/runs", response_model=RunListResponse, responses=ERRORS, openapi_extra=needs("runs:read"))
async def list_runs(query: Annotated[RunsQuery, Query()], service: TheService, caller: Caller) -> Response:
    """A page of runs, the newest updated first unless asked otherwise."""
    order = Order.of(query, "updated_at", descending=True)
    filters = filter_of(query, caller.tenant)
    page = await service.reach(lambda platform: read_page(platform, query, filters, order))
    return Response(await off_loop(lambda: as_json(shown_page(query, order, page))), media_type="application/json")


@router.get(
    "/runs/{run_id}",
    response_model=RunStatusResponse,
    responses={**ERRORS, 304: {"description": "Nothing has happened since"}},
    openapi_extra=needs("runs:read"),
)
async def get_run(
    run_id: str,
    query: Annotated[GetRunQuery, Query()],
    service: TheService,
    caller: Caller,
    if_none_match: Annotated[str | None, Header(description="The ETag of an earlier answer.")] = None,
) -> Response:
    """A run as it stands, or 304 for who knows it already; with `wait`, as soon as there is news."""
    shown = service.shown_runs

    async def look(platform: Platform) -> tuple[RunRecord, bytes | None]:
        record = await visible(platform, RunId(run_id), caller)
        known = _is_known(record, if_none_match)
        if query.wait and (known or if_none_match is None):
            record = await platform.changed(record.id, patience=query.wait, at_rest=known)
        if _is_known(record, if_none_match):
            return record, None
        text = shown.get(record)
        if text is None:
            text = as_json(told_by_door(await platform.view_of(record), record))
            shown.put(record, text)
        return record, text

    record, text = await service.reach(look)
    headers = {"ETag": _etag(record), "Cache-Control": "no-cache"}
    if text is None:
        return Response(status_code=304, headers=headers)
    return Response(text, headers=headers, media_type="application/json")


@router.post(
    "/runs/{run_id}/cancel", response_model=RunStatusResponse, responses=ERRORS, openapi_extra=needs("runs:write")
)
async def cancel_run(run_id: str, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller) -> Response:
    """Ends a run early; one that has ended already is answered as it is."""
    return JSONResponse(await service.reach(partial(_cancelled, run_id=RunId(run_id), caller=caller)))


@router.post(
    "/runs/{run_id}/continue", response_model=RunCreateResponse, responses=STARTED, openapi_extra=needs("runs:write")
)
async def continue_run(
    run_id: str,
    query: Annotated[ContinueQuery, Query()],
    service: TheService,
    caller: Caller,
    idempotency_key: KeyHeader = None,
) -> Response:
    """Takes up a failed run after its last finished step; answers as starting one does."""
    return await go_on_with(service, caller, RunId(run_id), given_key=idempotency_key, wait=query.wait)


@router.delete("/runs/{run_id}", response_model=RunDeleteResponse, responses=ERRORS, openapi_extra=needs("runs:write"))
async def delete_run(
    run_id: str, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """Removes a run that has ended, with its events, tasks and keys. The audit stays, and says `run.deleted`."""

    async def remove(platform: Platform) -> None:
        record = await visible(platform, RunId(run_id), caller)
        await platform.delete_run(record.id, actor=caller.name)

    await service.reach(remove)
    return {"run_id": run_id, "deleted": True}


@router.get(
    "/runs/{run_id}/export",
    response_class=StreamingResponse,
    responses={
        **ERRORS,
        200: {
            "description": "Lines of JSON: `run`, `plan`, `event`, `human_task`, `audit_event`, and `end`",
            "content": {NDJSON: {"schema": {"type": "string"}}},
        },
    },
    openapi_extra=needs("runs:read"),
)
async def export_run(
    run_id: str, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> StreamingResponse:
    """The run with its journal and audit, without secrets. What does not end with a line `end` is not whole."""

    async def begin(platform: Platform) -> tuple[AsyncGenerator[str], list[str]]:
        record = await visible(platform, RunId(run_id), caller)
        lines = platform.export_run(record.id)
        return lines, await some(lines)

    lines, first = await service.reach(begin)

    async def told() -> AsyncGenerator[bytes]:
        found = first
        try:
            while found:
                yield "".join(f"{line}\n" for line in found).encode()
                found = await service.reach(lambda platform: some(lines))
        finally:
            await service.reach(lambda platform: lines.aclose())

    return StreamingResponse(told(), media_type=NDJSON)


def trace_of(request: Request) -> dict[str, str]:
    """The W3C trace context of a request, as it was sent; of several `traceparent` none counts, as the W3C says."""
    parents, states = (request.headers.getlist(name) for name in (TRACEPARENT, TRACESTATE))
    if len(parents) != 1:
        return {}
    return {TRACEPARENT: parents[0], **({TRACESTATE: ",".join(states)} if states else {})}


async def _cancelled(platform: Platform, *, run_id: RunId, caller: AuthPrincipal) -> dict[str, Any]:
    before = await visible(platform, run_id, caller)
    record = await platform.cancel(run_id, actor=caller.name)
    if before.status.is_terminal:
        # Who wanted it and came too late is worth knowing, too.
        told = {"status": record.status.value, "changed": False}
        await platform.audit("run.cancelled", actor=caller.name, run_id=run_id, metadata=told)
    return told_by_door(await platform.run_view(run_id), record)


def _etag(record: RunRecord) -> str:
    return f'"{record.seq}"'


def _is_known(record: RunRecord, if_none_match: str | None) -> bool:
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or _etag(record) in tags

"""Questions to people, and their answers."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from kneo_serv.errors import NotFoundError
from kneo_serv.model.ids import ContinuationId, RunId
from kneo_serv.model.page import Cursor, Page
from kneo_serv.model.task import HumanResponse, HumanTask, TaskStatus
from kneo_serv.platform import views
from kneo_serv.platform.platform import Platform
from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.idempotency import HUMAN_RESUME, KeyHeader, key_of
from kneo_serv.service.listing import WINDOW, Order, listing, page_of
from kneo_serv.service.off_loop import off_loop
from kneo_serv.service.resuming import resume
from kneo_serv.service.schemas.bounds import Bounds
from kneo_serv.service.schemas.human_tasks import (
    HumanResumeRequest,
    HumanResumeResponse,
    HumanTaskListResponse,
    HumanTaskQuery,
    HumanTaskResponse,
    ResumeQuery,
)
from kneo_serv.service.schemas.shapes import ERRORS, NoQuery

router = APIRouter(tags=["human-tasks"], route_class=ScopedRoute)

_INDEXED = {"id": "created_at", "created_at": "created_at", "expires_at": "expires_at"}
"""Sorts that an index serves. Ids hold the moment of asking, so that both have one order."""
_AT_ONCE = 1000
_WRITE = "human:write"


@router.get("/human-tasks", response_model=HumanTaskListResponse, responses=ERRORS, openapi_extra=needs("human:read"))
async def list_human_tasks(
    query: Annotated[HumanTaskQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """Open human tasks, without secrets. Those without a deadline come last where they are sorted by it."""
    order = Order.of(query, "id", descending=False)
    column = _INDEXED.get(order.sort_by)
    run_id = None if query.run_id is None else RunId(query.run_id)
    escalated = None if query.status is None else query.status == "escalated"
    page = Page(query.limit, query.offset, column, order.descending, order.behind(query))

    async def pick(platform: Platform, page: Page) -> list[HumanTask]:
        found = await platform.store.list_tasks(
            run_id=run_id, workflow_kind=query.workflow_kind, escalated=escalated, tenant=caller.tenant, page=page
        )
        return list(found)

    async def look(platform: Platform) -> tuple[list[HumanTask], int]:
        if column is not None:
            found = await pick(platform, page)
        else:
            found = []
            after: Cursor | None = None
            while len(found) < WINDOW:
                rows = await pick(platform, Page(_AT_ONCE, 0, "created_at", descending=False, after=after))
                found += rows
                if len(rows) < _AT_ONCE:
                    break
                after = Cursor(rows[-1].created_at, rows[-1].continuation_id)
        total = await platform.store.count_tasks(
            run_id=run_id,
            workflow_kind=query.workflow_kind,
            escalated=escalated,
            tenant=caller.tenant,
            at_most=WINDOW,
        )
        return found, total

    tasks, total = await service.reach(look)
    if column is None:
        rows = await off_loop(lambda: page_of(tasks, views.task_view, query, order))
        return listing("tasks", rows, query, order, total=total)
    return listing(
        "tasks",
        [views.task_view(task) for task in tasks],
        query,
        order,
        total=total,
        next_cursor=_next(tasks, column, order) if len(tasks) == query.limit else None,
    )


def _next(tasks: Sequence[HumanTask], column: str, order: Order) -> str:
    last = tasks[-1]
    return order.cursor(last.expires_at if column == "expires_at" else last.created_at, last.continuation_id)


@router.get(
    "/human-tasks/{continuation_id}",
    response_model=HumanTaskResponse,
    responses=ERRORS,
    openapi_extra=needs("human:read"),
)
async def get_human_task(
    continuation_id: str, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """One open human task.

    Who may answer it (`human:write`) sees the real text under review, which is audited as `human.task_read`; others
    see it without secrets.
    """
    private = caller.has_scope(_WRITE)

    async def look(platform: Platform) -> dict[str, Any]:
        task = await platform.store.get_task(ContinuationId(continuation_id))
        theirs = task is not None and caller.tenant in (None, task.tenant)
        if task is None or not theirs or task.status is not TaskStatus.OPEN:
            raise NotFoundError("human task", continuation_id)
        record = await platform.record(task.run_id)
        messages = views.thread_view(await platform.events(task.run_id), continuation_id)
        if private:
            # Told before it is shown: nobody sees the text unaudited.
            await platform.audit(
                "human.task_read",
                actor=caller.name,
                run_id=task.run_id,
                continuation_id=continuation_id,
                metadata={"request_id": task.request.id},
            )
        row = views.task_view(task, record)
        kept = ("continuation_id", "run_id", "status", "workflow_name", "workflow_kind", "created_at", "expires_at")
        return {
            **{name: row[name] for name in kept},
            "request": views.request_view(task, private=private),
            "messages": messages or None,
            "deadline_at": record.deadline_at,
        }

    return await service.reach(look)


@router.post(
    "/human-tasks/{continuation_id}/resume",
    response_model=HumanResumeResponse,
    responses={**ERRORS, 202: {"model": HumanResumeResponse, "description": "The run is still at work"}},
    openapi_extra=needs(_WRITE),
)
@router.post(
    "/continuations/{continuation_id}/resume",
    name="resume_continuation",
    response_model=HumanResumeResponse,
    responses={**ERRORS, 202: {"model": HumanResumeResponse, "description": "The run is still at work"}},
    openapi_extra=needs(_WRITE),
)
async def resume_human_task(
    continuation_id: str,
    body: HumanResumeRequest,
    query: Annotated[ResumeQuery, Query()],
    response: Response,
    service: TheService,
    caller: Caller,
    idempotency_key: KeyHeader = None,
) -> dict[str, Any]:
    """Gives a person's answer, and waits until the run rests or ends.

    The first answer counts. Another one gets 409 `resource_locked` while the run is at work on the first, and 404
    later. Who stops waiting changes nothing about the run.
    """
    limits = service.limits
    bounds = Bounds()
    bounds.chars("request_id", body.request_id, limits.max_path_chars)
    bounds.chars("selected_option", body.selected_option, limits.max_path_chars)
    bounds.chars("content", body.content, limits.max_human_content_chars)
    bounds.json_bytes("metadata", body.metadata, limits.max_metadata_bytes)
    bounds.check()
    asked = {"continuation_id": continuation_id, "request": body.model_dump(mode="json")}
    key = key_of(HUMAN_RESUME, idempotency_key, caller, asked)
    given = HumanResponse(body.request_id, body.decision, body.content, body.selected_option, body.metadata)
    patience = service.platform.options.patience_seconds if query.wait is None else query.wait
    response.status_code, answer = await service.reach(
        lambda platform: resume(
            platform, ContinuationId(continuation_id), given, caller=caller, key=key, patience=patience
        )
    )
    return answer

"""Forks: new runs that begin in the middle of others."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from kneo_serv.model.ids import RunId
from kneo_serv.platform.platform import Platform
from kneo_serv.service.admission import ScopedRoute, demand, needs
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.forking import start_fork
from kneo_serv.service.idempotency import KeyHeader
from kneo_serv.service.schemas.forks import ForkPreviewQuery, ForkPreviewResponse, RunForkRequest, RunForkResponse
from kneo_serv.service.schemas.shapes import ERRORS, NoQuery
from kneo_serv.service.starting import visible

router = APIRouter(tags=["runs"], route_class=ScopedRoute)

_FORKED: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    202: {"model": RunForkResponse, "description": "The new run waits for people, or goes on"},
}
_ANSWERS = "human:write"


@router.get(
    "/runs/{run_id}/fork-preview",
    response_model=ForkPreviewResponse,
    responses=ERRORS,
    openapi_extra=needs("runs:read"),
)
async def preview_fork(
    run_id: str, query: Annotated[ForkPreviewQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """What a fork at a checkpoint would keep, and which side effects it may repeat. Nothing is done."""

    async def look(platform: Platform) -> dict[str, Any]:
        record = await visible(platform, RunId(run_id), caller)
        return (await platform.forks.preview(record.id, query.at_sequence)).to_dict()

    return await service.reach(look)


@router.post(
    "/runs/{run_id}/fork", response_model=RunForkResponse, responses=_FORKED, openapi_extra=needs("runs:write")
)
async def fork_run(
    run_id: str,
    asked: RunForkRequest,
    query: Annotated[NoQuery, Query()],
    request: Request,
    service: TheService,
    caller: Caller,
    idempotency_key: KeyHeader = None,
) -> Response:
    """Starts a run with the history of another one up to a checkpoint; answers as starting one does.

    Side effects that the other run had behind the checkpoint are repeated with consent only: without it, this is 409
    `fork_consent_required`, which lists them, and nothing is stored.
    """
    if asked.answer is not None:
        # Whoever may start runs may not decide what people are asked.
        demand(request, caller, _ANSWERS, "POST /runs/{run_id}/fork")
    return await start_fork(service, caller, RunId(run_id), asked, given_key=idempotency_key)

"""What can be seen of a run beside its row: trace, checkpoints, differences, graph, recovery, replay, policies."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from kneo_serv.errors import KneoError
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId
from kneo_serv.model.run import RunRecord
from kneo_serv.platform import PlatformManager, views
from kneo_serv.platform.platform import Platform
from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.answers import as_json, told_by_door
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.drawing import EMPTY, drawn
from kneo_serv.service.listing import Order, listing, page_of
from kneo_serv.service.off_loop import off_loop
from kneo_serv.service.schemas.run_views import (
    CheckpointDiffResponse,
    CheckpointsQuery,
    DiffQuery,
    RunCheckpointsResponse,
    RunGraphResponse,
    RunRecoveryResponse,
    RunReplayResponse,
    RunTraceResponse,
    TraceQuery,
)
from kneo_serv.service.schemas.shapes import ERRORS, NoQuery
from kneo_serv.service.schemas.specs import PolicyReportResponse
from kneo_serv.service.starting import visible
from kneo_serv.service.state import Service

router = APIRouter(tags=["runs"], route_class=ScopedRoute)

type Fold = Callable[[RunRecord, Sequence[ev.Recorded]], Any]


async def _shown(service: Service, caller: AuthPrincipal, run_id: str, fold: Fold) -> Response:
    async def read(platform: Platform) -> tuple[RunRecord, list[ev.Recorded]]:
        record = await visible(platform, RunId(run_id), caller)
        return record, await platform.events(record.id)

    record, events = await service.reach(read)
    return Response(await off_loop(lambda: as_json(fold(record, events))), media_type="application/json")


@router.get("/runs/{run_id}/trace", response_model=RunTraceResponse, responses=ERRORS, openapi_extra=needs("runs:read"))
async def get_trace(
    run_id: str, query: Annotated[TraceQuery, Query()], service: TheService, caller: Caller
) -> Response:
    """What happened in a run, step by step; never the arguments or results of tools."""
    order = Order.of(query, "timestamp", descending=False)
    limit = service.platform.options.trace_max_events

    def fold(record: RunRecord, events: Sequence[ev.Recorded]) -> dict[str, Any]:
        lines, dropped = views.trace_events(record, events, limit=limit)
        if query.event_type is not None:
            lines = [line for line in lines if line["type"] == query.event_type]
        page = page_of(lines, _itself, query, order)
        listed = listing("events", page, query, order, total=len(lines))
        return {"run_id": record.id, **listed, "total_exact": True, "dropped": dropped, "complete": dropped == 0}

    return await _shown(service, caller, run_id, fold)


@router.get(
    "/runs/{run_id}/checkpoints",
    response_model=RunCheckpointsResponse,
    responses=ERRORS,
    openapi_extra=needs("runs:read"),
)
async def list_checkpoints(
    run_id: str, query: Annotated[CheckpointsQuery, Query()], service: TheService, caller: Caller
) -> Response:
    """The run after each of its steps, pauses and ends."""
    order = Order.of(query, "sequence", descending=False)

    def fold(record: RunRecord, events: Sequence[ev.Recorded]) -> dict[str, Any]:
        made = [one for one in views.checkpoints(record, events) if query.type is None or one.type == query.type]
        page = page_of(made, views.Checkpoint.to_dict, query, order)
        listed = listing("checkpoints", page, query, order, total=len(made))
        return {"run_id": record.id, **listed, "total_exact": True}

    return await _shown(service, caller, run_id, fold)


@router.get(
    "/runs/{run_id}/checkpoints/diff",
    response_model=CheckpointDiffResponse,
    responses=ERRORS,
    openapi_extra=needs("runs:read"),
)
async def diff_checkpoints(
    run_id: str, query: Annotated[DiffQuery, Query()], service: TheService, caller: Caller
) -> Response:
    """What changed from one checkpoint to another."""
    first, second = query.from_sequence, query.to_sequence

    def fold(record: RunRecord, events: Sequence[ev.Recorded]) -> dict[str, Any]:
        made = views.checkpoints(record, events)
        return views.checkpoint_diff(made, from_sequence=first, to_sequence=second)

    return await _shown(service, caller, run_id, fold)


@router.get(
    "/runs/{run_id}/recovery", response_model=RunRecoveryResponse, responses=ERRORS, openapi_extra=needs("runs:read")
)
async def get_recovery(
    run_id: str, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> Response:
    """Where a run stands, and whether and from where it can be continued."""
    return await _shown(
        service, caller, run_id, lambda record, events: told_by_door(views.recovery_context(record, events), record)
    )


@router.get(
    "/runs/{run_id}/replay", response_model=RunReplayResponse, responses=ERRORS, openapi_extra=needs("runs:read")
)
async def get_replay(run_id: str, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller) -> Response:
    """A run's checkpoints as a short time line. Nothing is executed."""
    return await _shown(
        service, caller, run_id, lambda record, events: told_by_door(views.replay_view(record, events), record)
    )


@router.get("/runs/{run_id}/graph", response_model=RunGraphResponse, responses=ERRORS, openapi_extra=needs("runs:read"))
async def get_run_graph(
    run_id: str, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> Response:
    """The workflow that a run was started with, and where in it the run stands and has been."""
    manager = service.platform

    def fold(record: RunRecord, events: Sequence[ev.Recorded]) -> dict[str, Any]:
        story = views.Story.told(events)
        asked = story.waiting
        gate = None if asked is None else story.note(asked.key)
        current = gate.visited_id if gate is not None else story.step_id
        return {
            "run_id": record.id,
            "status": record.status.value,
            **_frozen_graph(manager, record),
            "current": None if record.status.is_terminal else current,
            "visited": list(dict.fromkeys(story.visited)),
        }

    return await _shown(service, caller, run_id, fold)


@router.get(
    "/runs/{run_id}/policy-report",
    response_model=PolicyReportResponse,
    responses=ERRORS,
    openapi_extra=needs("runs:read"),
)
async def get_run_policy_report(
    run_id: str, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> Response:
    """What the agents of the spec that a run was started with may do. Looking is audited."""
    record = await service.reach(lambda platform: visible(platform, RunId(run_id), caller))
    manager = service.platform
    report = judged(await off_loop(lambda: manager.policy_report_for_run(run_id)))
    await service.reach(
        lambda platform: platform.audit(
            "spec.policy_reported",
            actor=caller.name,
            run_id=record.id,
            metadata={"valid": report["valid"], "source": "run"},
        )
    )
    return Response(as_json({"valid": report["valid"], "report": report}), media_type="application/json")


def judged(report: dict[str, Any]) -> dict[str, Any]:
    """A policy report that is valid only where no finding is an error."""
    errors = any(item.get("severity") == "error" for item in report.get("diagnostics", ()))
    return {**report, "valid": bool(report.get("valid")) and not errors}


def _itself(line: dict[str, Any]) -> dict[str, Any]:
    return line


def _frozen_graph(manager: PlatformManager, record: RunRecord) -> dict[str, Any]:
    frozen = record.metadata.get("frozen_spec") or {}
    try:
        view = manager.compiler.graph(
            frozen.get("base", {}),
            environment=record.environment,
            overlays=list(frozen.get("overlays", ())),
            overrides=record.metadata.get("overrides"),
        )
    except KneoError:
        # Without a workflow, or with one that this version does not read any more: what happened is told all the same.
        return dict(EMPTY)
    return drawn(view)

"""Schedules: specs that run by the calendar."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from kneo_serv.errors import InvalidRequestError, NotFoundError
from kneo_serv.model.schedule import Schedule
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.schedules import moments
from kneo_serv.platform.views import schedule_view
from kneo_serv.platform.views.bounds import iso
from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.idempotency import SCHEDULES_TRIGGER, KeyHeader, key_of
from kneo_serv.service.listing import Order, listing, page_of
from kneo_serv.service.off_loop import off_loop
from kneo_serv.service.paths import SpecPaths, found_spec
from kneo_serv.service.schemas.schedules import (
    ScheduleCreateRequest,
    ScheduleDeleteResponse,
    ScheduleGetQuery,
    ScheduleListResponse,
    SchedulePatchRequest,
    ScheduleQuery,
    ScheduleResponse,
    SchedulesQuery,
    ScheduleTriggerResponse,
)
from kneo_serv.service.schemas.shapes import ERRORS, NoQuery
from kneo_serv.service.state import Service
from kneo_serv.service.timestamps import moment_of

router = APIRouter(tags=["schedules"], route_class=ScopedRoute)

Name = Annotated[str, Path(max_length=128, description="Name of the schedule.")]
Whose = Annotated[ScheduleQuery, Query()]
_MOST = 10_000
_SHOWN = 5


@router.get("/schedules", response_model=ScheduleListResponse, responses=ERRORS, openapi_extra=needs("runs:read"))
async def list_schedules(
    query: Annotated[SchedulesQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """Schedules by name, or by any path of their rows."""
    order = Order.of(query, "name", descending=False)
    found = await service.reach(lambda platform: platform.store.list_schedules(tenant=caller.tenant, limit=_MOST))
    wanted = [one for one in found if query.paused in (None, one.paused)]
    rows = await off_loop(lambda: page_of(wanted, schedule_view, query, order))
    return listing("schedules", rows, query, order, total=len(wanted))


@router.post(
    "/schedules",
    status_code=201,
    response_model=ScheduleResponse,
    responses=ERRORS,
    openapi_extra=needs("runs:write"),
)
async def create_schedule(
    asked: ScheduleCreateRequest, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> JSONResponse:
    """Makes a schedule. The spec is compiled now, and anew for each run, so that a mended file is what runs."""
    asked.check(service.limits)
    given = _given(asked, {"name", "paused"})
    make = partial(service.platform.create_schedule, asked.name, paused=asked.paused, actor=caller.name)
    schedule = await off_loop(lambda: _with_spec(service, given, partial(make, tenant=caller.tenant)))
    return JSONResponse(_whole(schedule, schedule.updated_at), 201)


@router.get("/schedules/{name}", response_model=ScheduleResponse, responses=ERRORS, openapi_extra=needs("runs:read"))
async def get_schedule(
    name: Name, query: Annotated[ScheduleGetQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """One schedule, with its next moments."""

    async def look(platform: Platform) -> tuple[Schedule, float]:
        return await _theirs(platform, name, query, caller), await platform.store.now()

    return _whole(*await service.reach(look), count=query.moments)


@router.patch("/schedules/{name}", response_model=ScheduleResponse, responses=ERRORS, openapi_extra=needs("runs:write"))
async def update_schedule(
    name: Name, asked: SchedulePatchRequest, query: Whose, service: TheService, caller: Caller
) -> dict[str, Any]:
    """Changes what is given. A new moment or time zone is planned from now on."""
    asked.check(service.limits)
    before = await service.reach(lambda platform: _theirs(platform, name, query, caller))
    given = _given(asked, set())
    make = partial(service.platform.update_schedule, name, tenant=before.tenant, actor=caller.name)
    with _paths(service, before).told():
        schedule = await off_loop(lambda: _with_spec(service, given, make))
    return _whole(schedule, schedule.updated_at)


@router.delete(
    "/schedules/{name}", response_model=ScheduleDeleteResponse, responses=ERRORS, openapi_extra=needs("runs:write")
)
async def delete_schedule(name: Name, query: Whose, service: TheService, caller: Caller) -> dict[str, Any]:
    """Removes a schedule; its runs stay."""

    async def remove(platform: Platform) -> None:
        schedule = await _theirs(platform, name, query, caller)
        await platform.schedules.delete(name, schedule.tenant, actor=caller.name)

    await service.reach(remove)
    return {"name": name, "deleted": True}


@router.post(
    "/schedules/{name}/pause", response_model=ScheduleResponse, responses=ERRORS, openapi_extra=needs("runs:write")
)
async def pause_schedule(name: Name, query: Whose, service: TheService, caller: Caller) -> dict[str, Any]:
    """Keeps no moment any more until it is resumed; runs that have begun go on."""

    async def pause(platform: Platform) -> Schedule:
        schedule = await _theirs(platform, name, query, caller)
        return await platform.schedules.pause(name, schedule.tenant, actor=caller.name)

    schedule = await service.reach(pause)
    return _whole(schedule, schedule.updated_at)


@router.post(
    "/schedules/{name}/resume", response_model=ScheduleResponse, responses=ERRORS, openapi_extra=needs("runs:write")
)
async def resume_schedule(name: Name, query: Whose, service: TheService, caller: Caller) -> dict[str, Any]:
    """Goes on with the next moment from now on; those of the pause are not caught up with."""

    async def resume(platform: Platform) -> Schedule:
        schedule = await _theirs(platform, name, query, caller)
        return await platform.schedules.resume(name, schedule.tenant, actor=caller.name)

    schedule = await service.reach(resume)
    return _whole(schedule, schedule.updated_at)


@router.post(
    "/schedules/{name}/trigger",
    status_code=202,
    response_model=ScheduleTriggerResponse,
    responses=ERRORS,
    openapi_extra=needs("runs:write"),
)
async def trigger_schedule(
    name: Name, query: Whose, service: TheService, caller: Caller, idempotency_key: KeyHeader = None
) -> dict[str, Any]:
    """Takes a run in now, whatever the schedule's moments are and though it may be paused."""

    async def trigger(platform: Platform) -> str:
        schedule = await _theirs(platform, name, query, caller)
        asked = {"schedule": name, "tenant": schedule.tenant}
        key = key_of(SCHEDULES_TRIGGER, idempotency_key, caller, asked, asynchronous=True)
        with _paths(service, schedule).told():
            return await platform.schedules.trigger(name, schedule.tenant, actor=caller.name, key=key)

    return {"run_id": await service.reach(trigger), "status": "running"}


async def _theirs(platform: Platform, name: str, query: ScheduleQuery, caller: AuthPrincipal) -> Schedule:
    """The schedule that a caller means by this name. Raises NotFoundError, InvalidRequestError."""
    if caller.tenant is not None:
        if query.tenant not in (None, caller.tenant):
            raise NotFoundError("schedule", name)
        return await platform.schedules.get(name, caller.tenant)
    if query.tenant is not None:
        return await platform.schedules.get(name, query.tenant or None)
    of_none = await platform.store.get_schedule(name, tenant=None)
    if of_none is not None:
        return of_none
    found = [one for one in await platform.store.list_schedules(limit=_MOST) if one.name == name]
    if len(found) > 1:
        raise InvalidRequestError(f"Several tenants have a schedule {name!r}: name one of them with ?tenant=.")
    if not found:
        raise NotFoundError("schedule", name)
    return found[0]


def _given(asked: ScheduleCreateRequest | SchedulePatchRequest, without: set[str]) -> dict[str, Any]:
    """What was said, by the names that the platform has for it. Raises RequestRefused: `at` is no moment."""
    said = asked.model_dump(exclude_unset=True, exclude=without)
    if "input" in said:
        said["input_text"] = said.pop("input")
    if "at" in said:
        said["at"] = moment_of("at", said["at"])
    return said


def _with_spec(service: Service, given: dict[str, Any], make: "partial[Schedule]") -> Schedule:
    """Calls `make` with files that are in the folder for specs; what it raises calls them as the caller did. Blocks."""
    named = given.get("spec") is not None or given.get("spec_path") is not None
    if not named:
        if given.get("overlays"):
            raise InvalidRequestError("Overlays go with the spec that they are laid over: name it in the same request.")
        return make(**given)
    found = found_spec(given.get("spec"), given.get("spec_path"), given.get("overlays", ()), service.spec_root)
    given["spec"], given["spec_path"] = found.spec, found.shown_path
    if "overlays" in given:
        given["overlays"] = found.shown_overlays
    with found.paths.told():
        return make(**given, in_spec_root=True)


def _paths(service: Service, schedule: Schedule) -> SpecPaths:
    """The files that a schedule names, so that errors call them as it does."""
    paths = SpecPaths(service.spec_root)
    for name in (schedule.spec_path, *schedule.overlays):
        if name is not None:
            paths.names[str(service.spec_root.resolve() / name)] = name
    return paths


def _whole(schedule: Schedule, now: float, count: int = _SHOWN) -> dict[str, Any]:
    return {
        **schedule_view(schedule, whole=True),
        "next_moments": [iso(moment) for moment in moments(schedule, now, count)],
    }

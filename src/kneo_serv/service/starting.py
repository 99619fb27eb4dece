"""Runs that a request asks for: begun once, however often it is sent, and waited for without holding a thread."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import Response

from kneo_serv.errors import IdempotencyKeyConflictError, NotFoundError
from kneo_serv.model import event as ev
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import RunId
from kneo_serv.model.run import Phase, RunRecord
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.service.answers import answer_at, as_json, still_running
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.errors import RequestRefused
from kneo_serv.service.idempotency import RUNS_CONTINUE, SPECS_RUN, in_progress, key_of
from kneo_serv.service.off_loop import off_loop
from kneo_serv.service.paths import FoundSpec, found_spec
from kneo_serv.service.schemas.runs import RunCreateRequest
from kneo_serv.service.state import Service

_LISTENER_COMES = 10.0
"""Seconds in which who does not wait has to ask for the events, to hear what models say from the beginning."""


async def start_run(
    service: Service,
    caller: AuthPrincipal,
    asked: RunCreateRequest,
    *,
    scope: str,
    given_key: str | None,
    trace: Mapping[str, str],
) -> Response:
    """Begins the run and answers when it rests, or at once, or when the caller's patience ends.

    Raises:
        RequestRefused: a path leads out, a key is too long, the same request is at work, or the run ended refused.
        KneoError: as `PlatformManager.prepare` and `Platform.start`.
    """
    asked.check(service.limits)
    # How long somebody waits changes nothing about what is asked for.
    body = asked.model_dump(mode="json", exclude={"wait"}) if given_key else None
    key = key_of(scope, given_key, caller, body, asynchronous=asked.async_mode)
    patience = patience_of(service) if asked.wait is None else asked.wait
    if key is not None and (earlier := await service.reach(partial(earlier_run, key=key))) is not None:
        return await _again(service, key, earlier, patience)
    submission = await _submission(service, asked, caller, trace)
    tell = partial(_audited, caller=caller, submission=submission) if scope == SPECS_RUN else _nothing

    async def run(platform: Platform) -> tuple[int, dict[str, Any]]:
        record = await platform.start(submission, hold=not asked.async_mode, key=key)
        # Of two that come in at once with one key, the second gets the run of the first.
        if key is not None and record.metadata is not submission.metadata:
            return await answer_again(platform, key, record.id, patience)
        if not asked.async_mode:
            await_listener(platform, record.id, patience)
        if asked.async_mode:
            await tell(platform, record.id, "running", async_mode=True)
            return still_running(record)
        try:
            answer = await rested(platform, record.id, 1, patience, None)
        except RequestRefused:
            await tell(platform, record.id, "failed")
            raise
        _, body = answer
        await tell(platform, record.id, body["status"], continuation_id=body["continuation_id"])
        return answer

    return answered(await service.reach(run))


async def continue_run(
    service: Service, caller: AuthPrincipal, run_id: RunId, *, given_key: str | None, wait: float | None = None
) -> Response:
    """Takes up a failed run, and answers as `start_run`; `wait` is the caller's patience in seconds.

    Raises:
        RunStateConflictError: it is at work, waits for a person, or has ended otherwise than by failing.
    """
    key = key_of(RUNS_CONTINUE, given_key, caller, {"run_id": run_id})
    patience = patience_of(service) if wait is None else wait
    if key is not None and (earlier := await service.reach(partial(earlier_run, key=key))) is not None:
        return await _again(service, key, earlier, patience)

    async def go_on(platform: Platform) -> tuple[int, dict[str, Any]]:
        from_seq = await _continued(platform)
        return await rested(platform, run_id, from_seq, patience, None)

    async def _continued(platform: Platform) -> int:
        before = await visible(platform, run_id, caller)
        await_listener(platform, run_id, patience)
        await platform.continue_run(run_id, actor=caller.name, key=key)
        for row in await platform.store.events(run_id, after=before.seq):
            if row.kind == ev.RunContinued.KIND:
                return row.seq
        return before.seq

    return answered(await service.reach(go_on))


async def visible(platform: Platform, run_id: RunId, caller: AuthPrincipal) -> RunRecord:
    """The run, when the caller may know of it. Raises NotFoundError."""
    record = await platform.record(run_id)
    if caller.tenant is not None and record.tenant != caller.tenant:
        raise NotFoundError("run", run_id)
    return record


def await_listener(platform: Platform, run_id: RunId, patience: float | None) -> None:
    """Keeps what models say from now on ready for a caller without any patience, who is about to follow the run.

    A turn that begins when nobody listens is not heard, and the first one begins before the caller knows the run's id.
    """
    if patience == 0:
        asyncio.get_running_loop().call_later(_LISTENER_COMES, platform.hear(run_id, lambda _: None))


def patience_of(service: Service) -> float:
    """Seconds that a caller waits who does not say how long."""
    patience = service.platform.options.patience_seconds
    return service.settings.patience_seconds if patience is None else patience


def prepared(found: FoundSpec, manager: PlatformManager, asked: RunCreateRequest, **more: Any) -> Submission:
    """The submission of a spec that was found. Its paths are kept relative to the folder for specs. Blocks."""
    with found.paths.told():
        made = manager.prepare(
            input_text=asked.input,
            spec=found.spec,
            spec_path=found.spec_path,
            target=asked.target,
            environment=asked.environment,
            overlays=found.overlays,
            overrides=asked.overrides or None,
            skills_overlay=None if asked.skills is None else asked.skills.model_dump(),
            timeout_seconds=asked.timeout_seconds,
            session_id=asked.session_id,
            tags=asked.tags,
            queue=asked.queue,
            priority=asked.priority,
            metadata=asked.metadata,
            **more,
        )
    if found.shown_path is not None:
        made.metadata["spec_path"] = found.shown_path
    if found.overlays:
        made.metadata["overlays"] = found.shown_overlays
    return made


async def _submission(
    service: Service, asked: RunCreateRequest, caller: AuthPrincipal, trace: Mapping[str, str]
) -> Submission:
    manager = service.platform

    def find() -> FoundSpec:
        return found_spec(
            asked.spec,
            asked.spec_path,
            asked.overlays,
            service.spec_root,
            working=service.working_directory,
            files=service.spec_files,
        )

    def make(found: FoundSpec) -> Submission:
        return prepared(found, manager, asked, actor=caller.name, tenant=caller.tenant, trace=trace)

    # What was found and compiled just now is not worth the way to another thread and back.
    known = asked.spec_path is not None and service.spec_files.get(
        service.spec_root, service.working_directory, asked.spec_path
    )
    if known and asked.spec is None and asked.environment is None and not asked.overlays:
        found = find()
        if manager.is_at_hand(
            spec=found.spec,
            spec_path=found.spec_path,
            overlays=found.overlays,
            overrides=asked.overrides or None,
            skills_overlay=None if asked.skills is None else asked.skills.model_dump(),
        ):
            return make(found)
    return await off_loop(lambda: make(find()))


async def earlier_run(platform: Platform, key: IdempotencyKey) -> RunId | None:
    """The run that the key stands for already. Raises IdempotencyKeyConflictError for another request's key."""
    record = await platform.store.get_key(key.scope, key.principal, key.key)
    if record is None:
        return None
    if record.key.body_hash != key.body_hash:
        raise IdempotencyKeyConflictError(key.scope)
    return record.run_id


async def _again(service: Service, key: IdempotencyKey, run_id: RunId, patience: float) -> Response:
    return answered(await service.reach(lambda platform: answer_again(platform, key, run_id, patience)))


async def answer_again(
    platform: Platform, key: IdempotencyKey, run_id: RunId, patience: float
) -> tuple[int, dict[str, Any]]:
    """The answer to a request that was sent before: the same as then, or, while it is at work, what comes of it."""
    if key.asynchronous:
        return still_running(await platform.record(run_id))
    bound = await platform.store.get_key(key.scope, key.principal, key.key)
    return await rested(platform, run_id, 1 if bound is None else bound.from_seq, patience, key)


async def rested(
    platform: Platform, run_id: RunId, from_seq: int, patience: float, again: IdempotencyKey | None
) -> tuple[int, dict[str, Any]]:
    """The answer about the first rest of a run behind an event, or about a run that outlasts `patience` seconds.

    Raises:
        RequestRefused: the run ended refused; or it is still at work, and its request was sent before with key `again`.
    """
    # A run may have gone on since its first rest: who asks again is not to wait for the next one.
    rest = None if again is None else await platform.first_rest(run_id, from_seq)
    if rest is None:
        record, rest = await platform.rest(run_id, from_seq=from_seq, patience=patience)
        if rest is None:
            if again is not None and record.phase is not Phase.PARKED:
                raise in_progress(again.scope)
            return still_running(record, after=from_seq)
    return answer_at(rest)


async def _audited(
    platform: Platform,
    run_id: RunId,
    status: str,
    *,
    caller: AuthPrincipal,
    submission: Submission,
    continuation_id: str | None = None,
    **facts: Any,
) -> None:
    path = submission.metadata.get("spec_path")
    told = {
        "target": submission.target,
        "spec_path": path,
        "inline_spec": path is None,
        "environment": submission.environment,
        "status": status,
        **facts,
    }
    await platform.audit("spec.run", actor=caller.name, run_id=run_id, continuation_id=continuation_id, metadata=told)


async def _nothing(platform: Platform, run_id: RunId, status: str, **facts: Any) -> None:
    """Tells nobody."""


def answered(answer: tuple[int, dict[str, Any]]) -> Response:
    """Status code and body as a response."""
    status, body = answer
    return Response(as_json(body), status, media_type="application/json")

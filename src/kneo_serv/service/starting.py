"""Runs that a request asks for: begun once, however often it is sent, and waited for without holding a thread."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi.responses import JSONResponse

from kneo_serv.errors import IdempotencyKeyConflictError, NotFoundError
from kneo_serv.model import event as ev
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import RunId
from kneo_serv.model.run import Phase, RunRecord
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.service.answers import answer_at, still_running
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.errors import RequestRefused
from kneo_serv.service.idempotency import RUNS_CONTINUE, SPECS_RUN, in_progress, key_of
from kneo_serv.service.off_loop import off_loop
from kneo_serv.service.paths import FoundSpec, found_spec
from kneo_serv.service.schemas.runs import RunCreateRequest
from kneo_serv.service.state import Service


async def start_run(
    service: Service,
    caller: AuthPrincipal,
    asked: RunCreateRequest,
    *,
    scope: str,
    given_key: str | None,
    trace: Mapping[str, str],
) -> JSONResponse:
    """Begins the run and answers when it rests, or at once, or when the caller's patience ends.

    Raises:
        RequestRefused: a path leads out, a key is too long, the same request is at work, or the run ended refused.
        KneoError: as `PlatformManager.prepare` and `Platform.start`.
    """
    asked.check(service.limits)
    body = asked.model_dump(mode="json")
    key = key_of(scope, given_key, caller, body, asynchronous=asked.async_mode)
    patience = patience_of(service) if asked.wait is None else asked.wait
    if key is not None and (earlier := await service.reach(partial(_earlier, key=key))) is not None:
        return await _again(service, key, earlier, patience)
    manager = service.platform
    submission = await off_loop(lambda: _prepared(manager, asked, caller, trace, service.spec_root))
    record = await service.reach(lambda platform: platform.start(submission, hold=not asked.async_mode, key=key))
    # Of two that come in at once with one key, the second gets the run of the first.
    if key is not None and record.metadata is not submission.metadata:
        return await _again(service, key, record.id, patience)
    tell = partial(_audited, service, caller, submission, record.id) if scope == SPECS_RUN else _nothing
    if asked.async_mode:
        await tell("running", async_mode=True)
        return _answered(still_running(record))
    try:
        status, body = await _rested(service, record.id, 1, patience, None)
    except RequestRefused:
        await tell("failed")
        raise
    await tell(body["status"], continuation_id=body["continuation_id"])
    return _answered((status, body))


async def continue_run(
    service: Service, caller: AuthPrincipal, run_id: RunId, *, given_key: str | None
) -> JSONResponse:
    """Takes up a failed run, and answers as `start_run`.

    Raises:
        RunStateConflictError: it is at work, waits for a person, or has ended otherwise than by failing.
    """
    key = key_of(RUNS_CONTINUE, given_key, caller, {"run_id": run_id})
    patience = patience_of(service)
    if key is not None and (earlier := await service.reach(partial(_earlier, key=key))) is not None:
        return await _again(service, key, earlier, patience)

    async def go_on(platform: Platform) -> int:
        before = await visible(platform, run_id, caller)
        await platform.continue_run(run_id, actor=caller.name, key=key)
        for row in await platform.store.events(run_id, after=before.seq):
            if row.kind == ev.RunContinued.KIND:
                return row.seq
        return before.seq

    return _answered(await _rested(service, run_id, await service.reach(go_on), patience, None))


async def visible(platform: Platform, run_id: RunId, caller: AuthPrincipal) -> RunRecord:
    """The run, when the caller may know of it. Raises NotFoundError."""
    record = await platform.record(run_id)
    if caller.tenant is not None and record.tenant != caller.tenant:
        raise NotFoundError("run", run_id)
    return record


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


def _prepared(
    manager: PlatformManager, asked: RunCreateRequest, caller: AuthPrincipal, trace: Mapping[str, str], root: Any
) -> Submission:
    found = found_spec(asked.spec, asked.spec_path, asked.overlays, root)
    return prepared(found, manager, asked, actor=caller.name, tenant=caller.tenant, trace=trace)


async def _earlier(platform: Platform, key: IdempotencyKey) -> RunId | None:
    """The run that the key stands for already. Raises IdempotencyKeyConflictError for another request's key."""
    record = await platform.store.get_key(key.scope, key.principal, key.key)
    if record is None:
        return None
    if record.key.body_hash != key.body_hash:
        raise IdempotencyKeyConflictError(key.scope)
    return record.run_id


async def _again(service: Service, key: IdempotencyKey, run_id: RunId, patience: float) -> JSONResponse:
    """The answer to a request that was sent before: the same as then, or, while it is at work, what comes of it."""
    if key.asynchronous:
        return _answered(still_running(await service.reach(lambda platform: platform.record(run_id))))
    bound = await service.reach(lambda platform: platform.store.get_key(key.scope, key.principal, key.key))
    return _answered(await _rested(service, run_id, 1 if bound is None else bound.from_seq, patience, key))


async def _rested(
    service: Service, run_id: RunId, from_seq: int, patience: float, again: IdempotencyKey | None
) -> tuple[int, dict[str, Any]]:
    async def wait(platform: Platform) -> tuple[int, dict[str, Any]]:
        # A run may have gone on since its first rest: who asks again is not to wait for the next one.
        rest = None if again is None else await platform.first_rest(run_id, from_seq)
        if rest is None:
            record, rest = await platform.rest(run_id, from_seq=from_seq, patience=patience)
            if rest is None:
                if again is not None and record.phase is not Phase.PARKED:
                    raise in_progress(again.scope)
                return still_running(record)
        return answer_at(rest)

    return await service.reach(wait)


async def _audited(
    service: Service,
    caller: AuthPrincipal,
    submission: Submission,
    run_id: RunId,
    status: str,
    *,
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
    await service.reach(
        lambda platform: platform.audit(
            "spec.run", actor=caller.name, run_id=run_id, continuation_id=continuation_id, metadata=told
        )
    )


async def _nothing(status: str, **facts: Any) -> None:
    """Tells nobody."""


def _answered(answer: tuple[int, dict[str, Any]]) -> JSONResponse:
    status, body = answer
    return JSONResponse(body, status)

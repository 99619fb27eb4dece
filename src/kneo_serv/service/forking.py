"""Forks that a request asks for: made once, however often it is sent, and answered as runs that are started."""

from typing import Any

from fastapi import Response

from kneo_serv.model.ids import RunId
from kneo_serv.model.task import HumanResponse
from kneo_serv.platform.forking import Forked, ForkRequest
from kneo_serv.platform.platform import Platform
from kneo_serv.service.answers import still_running
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.idempotency import RUNS_FORK, key_of
from kneo_serv.service.schemas.forks import RunForkRequest
from kneo_serv.service.starting import answer_again, answered, await_listener, earlier_run, patience_of, rested, visible
from kneo_serv.service.state import Service


async def start_fork(
    service: Service, caller: AuthPrincipal, run_id: RunId, asked: RunForkRequest, *, given_key: str | None
) -> Response:
    """Makes the new run and answers when it rests, or at once, or when the caller's patience ends.

    Raises:
        NotFoundError: there is no such run, or it is another tenant's.
        RequestRefused: a key is too long, the same request is at work, or the new run ended refused.
        KneoError: as `Platform.fork` and, for a retry, `Forks.retry_point`.
    """
    asked.check(service.limits)
    body = {"run_id": run_id, "request": asked.model_dump(mode="json", exclude={"wait"})} if given_key else None
    key = key_of(RUNS_FORK, given_key, caller, body, asynchronous=asked.async_mode)
    patience = patience_of(service) if asked.wait is None else asked.wait
    problem = service.platform.agent_problem
    changed = ForkRequest(asked.input, _answer(asked), asked.model, asked.accept_side_effects, caller.name)

    async def fork(platform: Platform) -> tuple[int, dict[str, Any]]:
        if key is not None and (earlier := await earlier_run(platform, key)) is not None:
            made = await platform.forks.made_with(key, earlier)
            return _told(run_id, made, await answer_again(platform, key, earlier, patience))
        parent = await visible(platform, run_id, caller)
        sequence = await platform.forks.retry_point(parent.id) if asked.retry else asked.at_sequence
        made = await platform.fork(
            parent.id, changed, at_sequence=sequence, hold=not asked.async_mode, problem=problem, key=key
        )
        if asked.async_mode:
            return _told(run_id, made, still_running(await platform.record(made.run_id)))
        await_listener(platform, made.run_id, patience)
        return _told(run_id, made, await rested(platform, made.run_id, made.seq, patience, None))

    return answered(await service.reach(fork))


def _answer(asked: RunForkRequest) -> HumanResponse | None:
    given = asked.answer
    if given is None:
        return None
    return HumanResponse(given.request_id, given.decision, given.content, given.selected_option, given.metadata)


def _told(parent: RunId, made: Forked, answer: tuple[int, dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    status, body = answer
    return status, {**body, "forked_from": {"run_id": parent, "at_sequence": made.at_sequence}}

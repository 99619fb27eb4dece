"""Runs of one session: one after the other."""
# ruff: noqa: S101 - these are tests

import asyncio

from kneo_serv.errors import SessionBusyError
from kneo_serv.model.ids import Owner
from kneo_serv.model.run import Phase, RunStatus, SessionConcurrency
from kneo_serv.store.contract import Claim, Store
from kneo_serv.testing.store_suite.case import case
from kneo_serv.testing.store_suite.samples import ANNA, BERT, START, append, claimed, ended, new_run, run_id, running

QUEUE, REJECT = SessionConcurrency.QUEUE, SessionConcurrency.REJECT


async def _in_turn(store: Store, name: str | None = None, owner: Owner = BERT) -> list[Claim]:
    run = None if name is None else run_id(name)
    return list(await store.claim(owner, lease_seconds=60, limit=10, run_id=run, in_turn=True))


@case
async def runs_of_a_session_begin_one_after_the_other(store: Store) -> None:
    """In the order of their creation; other sessions, and runs without one, do not wait."""
    for number, name in enumerate("abc"):
        await store.create(new_run(name, session_id="s", created_at=START + number))
    await store.create(new_run("d", session_id="other", created_at=START + 5))
    await store.create(new_run("e", created_at=START + 6))
    assert await _in_turn(store, "b") == []
    assert [claim.run_id for claim in await _in_turn(store)] == [run_id("a"), run_id("d"), run_id("e")]
    assert await _in_turn(store) == []
    await store.append(append("a", 1, ended(RunStatus.COMPLETED)))
    assert await _in_turn(store, "c") == []
    assert [claim.run_id for claim in await _in_turn(store)] == [run_id("b")]


@case
async def a_run_that_waits_for_people_holds_up_no_other_one(store: Store) -> None:
    """Nor does a parked one; one that waits for a timer does."""
    for number, phase in enumerate((Phase.WAITING_HUMAN, Phase.PARKED, Phase.ENDED)):
        await store.create(new_run(phase, session_id="s", phase=phase, created_at=START + number))
    await store.create(new_run("a", session_id="s", created_at=START + 10))
    assert [claim.run_id for claim in await _in_turn(store, "a")] == [run_id("a")]
    await store.create(new_run("b", session_id="t", phase=Phase.WAITING_TIMER))
    await store.create(new_run("c", session_id="t", created_at=START + 1))
    assert await _in_turn(store, "c") == []


@case
async def a_run_that_has_begun_waits_for_no_other_one(store: Store) -> None:
    """A person's answer takes it up at once."""
    await store.create(new_run("a", session_id="s"))
    await store.create(new_run("b", session_id="s", created_at=START + 1))
    await store.append(append("b", 1, running(started_at=START + 2)))
    await claimed(store, "a")
    assert [claim.run_id for claim in await _in_turn(store, "b")] == [run_id("b")]


@case
async def out_of_turn_every_run_is_claimed(store: Store) -> None:
    """Sessions are kept only where they are asked for."""
    await store.create(new_run("a", session_id="s"))
    await store.create(new_run("b", session_id="s", created_at=START + 1))
    assert len(await store.claim(ANNA, lease_seconds=60, limit=10)) == 2


@case
async def a_run_is_not_born_leased_before_its_turn(store: Store) -> None:
    """It is queued without a lease, and says so."""
    assert await store.create(new_run("a", session_id="s", lease_owner=ANNA, sessions=QUEUE))
    assert not await store.create(new_run("b", session_id="s", lease_owner=ANNA, sessions=QUEUE, created_at=START + 1))
    queued = await store.get_run(run_id("b"))
    assert queued is not None
    assert (queued.lease_owner, queued.fence, queued.phase) == (None, 0, Phase.RUNNABLE)
    await store.append(append("a", 1, ended(RunStatus.FAILED)))
    assert [claim.run_id for claim in await _in_turn(store, "b", ANNA)] == [run_id("b")]
    assert await store.create(new_run("c", session_id="s", lease_owner=ANNA, created_at=START + 2))


@case
async def a_busy_session_may_refuse_a_run(store: Store) -> None:
    """Then nothing of it is kept."""
    await store.create(new_run("a", session_id="s", sessions=REJECT))
    (refused,) = await asyncio.gather(
        store.create(new_run("b", session_id="s", sessions=REJECT, created_at=START + 1)), return_exceptions=True
    )
    assert isinstance(refused, SessionBusyError)
    assert refused.session_id == "s"
    assert await store.get_run(run_id("b")) is None
    await store.append(append("a", 1, running(phase=Phase.WAITING_HUMAN)))
    await store.create(new_run("b", session_id="s", sessions=REJECT, created_at=START + 1))

"""Idempotency keys: bound with what they stand for, or not at all."""
# ruff: noqa: S101 - these are tests

import asyncio
from dataclasses import replace
from typing import Any

from kneo_serv.errors import SessionBusyError
from kneo_serv.model.idempotency import IdempotencyKey, KeyRecord
from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.page import AuditFilter, RunFilter
from kneo_serv.model.run import RunStatus, SessionConcurrency
from kneo_serv.model.task import Decision, TaskStatus
from kneo_serv.store.contract import Append, Appended, KeyTaken, NewRun, Refusal, Refused, Store, TaskClosing
from kneo_serv.testing.store_suite.case import case
from kneo_serv.testing.store_suite.samples import ANNA, START, append, audit, ended, event, new_run, run_id, task


def _key(name: str, **changes: Any) -> IdempotencyKey:
    return replace(IdempotencyKey("runs:create", "anna", name, "digest"), **changes)


def _keyed(name: str, key: IdempotencyKey, **changes: Any) -> NewRun:
    return replace(new_run(name, **changes), key=key)


def _answer(name: str, after: int, key: IdempotencyKey) -> Append:
    closing = TaskClosing(ContinuationId(f"cont_{name}"), TaskStatus.ANSWERED, START + 9, Decision.APPROVED, "anna")
    return append(name, after, closed=(closing,), key=key)


async def _record(store: Store, key: IdempotencyKey) -> KeyRecord:
    found = await store.get_key(key.scope, key.principal, key.key)
    assert found is not None
    return found


async def _taken(store: Store, new: NewRun) -> KeyRecord:
    (refused,) = await asyncio.gather(store.create(new), return_exceptions=True)
    assert isinstance(refused, KeyTaken), refused
    return refused.record


@case
async def a_key_stands_for_the_run_that_was_created_with_it(store: Store) -> None:
    """From its last given event on; with all that the key says, and the moment."""
    before = await store.now()
    given = _key("k", asynchronous=True)
    assert await store.get_key("runs:create", "anna", "k") is None
    await store.create(replace(_keyed("a", given), events=(event(1), event(2))))
    found = await _record(store, given)
    assert found == KeyRecord(given, run_id("a"), 2, found.created_at)
    assert before <= found.created_at <= await store.now()


@case
async def a_taken_key_makes_no_second_run(store: Store) -> None:
    """Whatever else the request says, the caller gets what the key stands for, and nothing is written."""
    await store.create(_keyed("a", _key("k")))
    first = await _record(store, _key("k"))
    other = _key("k", body_hash="another")
    twin = replace(_keyed("b", other), audit=(audit("twin"),))
    assert await _taken(store, twin) == first
    assert await _taken(store, _keyed("a", _key("k"))) == first
    assert await store.get_run(run_id("b")) is None
    assert await store.count_audit(AuditFilter()) == 0
    assert await _record(store, _key("k")) == first


@case
async def a_key_belongs_to_its_scope_and_principal(store: Store) -> None:
    """The same name elsewhere is another key."""
    keys = (_key("k"), _key("k", scope="specs:run"), _key("k", principal="bert"), _key("K"))
    for number, key in enumerate(keys):
        await store.create(_keyed(str(number), key))
    assert [(await _record(store, key)).run_id for key in keys] == [run_id(str(number)) for number in range(4)]


@case
async def of_concurrent_creations_with_one_key_one_wins(store: Store) -> None:
    """Also when they are written together; the others get the winner."""
    results = await asyncio.gather(
        *(store.create(_keyed(str(number), _key("k"))) for number in range(12)), return_exceptions=True
    )
    assert results.count(False) == 1
    winner = (await _record(store, _key("k"))).run_id
    assert winner == run_id(str(results.index(False)))
    assert [found.record.run_id for found in results if isinstance(found, KeyTaken)] == [winner] * 11
    assert await store.count_runs(RunFilter()) == 1


@case
async def a_refused_run_binds_no_key(store: Store) -> None:
    """It may be tried again with the same one."""
    await store.create(new_run("a", session_id="s"))
    busy = _keyed("b", _key("k"), session_id="s", sessions=SessionConcurrency.REJECT, created_at=START + 1)
    (refused,) = await asyncio.gather(store.create(busy), return_exceptions=True)
    assert isinstance(refused, SessionBusyError)
    assert await store.get_key("runs:create", "anna", "k") is None
    await store.append(append("a", 1, ended()))
    await store.create(busy)
    assert (await _record(store, _key("k"))).run_id == run_id("b")


@case
async def a_key_stands_for_an_answer(store: Store) -> None:
    """With the task, and from the answer's event on; a second answer under it is told so before anything else."""
    await store.create(new_run("a"))
    await store.append(append("a", 1, opened=(task("a", "a"),)))
    key = _key("k", scope="human:resume")
    assert await store.append(_answer("a", 2, key)) == Appended(3)
    found = await _record(store, key)
    assert found == KeyRecord(key, run_id("a"), 3, found.created_at, ContinuationId("cont_a"))
    again = await store.append(_answer("a", 2, replace(key, body_hash="another")))
    assert again == Refused(Refusal.KEY, 3, RunStatus.RUNNING, found)
    await store.append(append("a", 3, ended()))
    late = await store.append(_answer("a", 9, key))
    assert late == Refused(Refusal.KEY, 4, RunStatus.COMPLETED, found)
    stale = replace(_answer("a", 9, key), fence=7, owner=ANNA)
    assert await store.append(stale) == Refused(Refusal.KEY, 4, RunStatus.COMPLETED, found)
    assert await store.append(replace(stale, run_id=run_id("none"))) == Refused(Refusal.KEY, taken=found)
    assert len(await store.events(run_id("a"))) == 4


@case
async def a_refused_append_binds_no_key(store: Store) -> None:
    """Of many at once with one key, on several runs, one counts."""
    for name in "abc":
        await store.create(new_run(name))
    key = _key("k", scope="runs:continue")
    assert await store.append(append("a", 7, key=key)) == Refused(Refusal.SEQUENCE, 1, RunStatus.CREATED)
    assert await store.get_key(key.scope, key.principal, key.key) is None
    results = await asyncio.gather(*(store.append(append(name, 1, key=key)) for name in "abc"))
    assert results.count(Appended(2)) == 1
    found = await _record(store, key)
    assert found.from_seq == 2
    assert [result.taken for result in results if isinstance(result, Refused)] == [found, found]
    assert (await store.heads([found.run_id]))[0].seq == 2
    assert sum([len(await store.events(run_id(name))) for name in "abc"]) == 4

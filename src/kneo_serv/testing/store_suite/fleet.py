"""Who is let to work: queues, priorities, fair turns between tenants, limits, and providers that are paused."""
# ruff: noqa: S101 - these are tests

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from kneo_serv.model.limits import FLEET, LIMITS
from kneo_serv.model.provider_state import PROVIDER, RATE
from kneo_serv.store.contract import Claim, Store
from kneo_serv.testing.store_suite.case import case
from kneo_serv.testing.store_suite.samples import ANNA, BERT, START, append, ended, new_run, run_id, running


async def _made(store: Store, name: str, at: float = 0, **changes: Any) -> None:
    await store.create(new_run(name, created_at=START + at, **changes))


async def _claim(store: Store, limit: int = 1, *, queues: Sequence[str] | None = None) -> list[str]:
    claims = await store.claim(ANNA, lease_seconds=60, limit=limit, queues=queues)
    return [claim.run_id.rpartition("_")[2].lstrip("0") for claim in claims]


async def _limits(store: Store, **limits: Mapping[str, Mapping[str, float]]) -> None:
    await store.put_document(LIMITS, FLEET, json.dumps(limits))


async def _provider(store: Store, name: str, **state: Any) -> None:
    await store.put_document(PROVIDER, name, json.dumps(state))


@case
async def a_run_keeps_its_queue_its_priority_and_what_it_needs(store: Store) -> None:
    """As they were given; and without them, it is an ordinary run of the queue `default`."""
    await _made(store, "a", queue="slow", priority=7, needs=("provider:p", "agent:a"), tenant="north")
    await _made(store, "b")
    first, second = await store.get_run(run_id("a")), await store.get_run(run_id("b"))
    assert first is not None
    assert second is not None
    assert (first.queue, first.priority, sorted(first.needs)) == ("slow", 7, ["agent:a", "provider:p"])
    assert (second.queue, second.priority, second.needs) == ("default", 0, ())


@case
async def a_worker_gets_runs_of_the_queues_that_it_serves(store: Store) -> None:
    """And of no other, but the one that it names itself."""
    for number, queue in enumerate(("slow", "default", "fast")):
        await _made(store, queue[0], number, queue=queue)
    assert await _claim(store, 9, queues=["fast", "unheard"]) == ["f"]
    assert await _claim(store, 9, queues=[]) == []
    (named,) = await store.claim(BERT, lease_seconds=60, run_id=run_id("s"), queues=["fast"])
    assert named.run_id == run_id("s")
    assert await _claim(store, 9) == ["d"]


@case
async def the_highest_priority_goes_first_then_the_oldest(store: Store) -> None:
    """Whichever queue they are in, and whatever they need."""
    for number, (name, priority) in enumerate((("a", 0), ("b", 5), ("c", -5), ("d", 5), ("e", 0))):
        await _made(store, name, number, priority=priority, queue="one" if number % 2 else "two")
    assert await _claim(store, 3) == ["b", "d", "a"]
    assert await _claim(store, 9) == ["e", "c"]


@case
async def a_lost_run_of_another_queue_is_left_to_those_who_serve_it(store: Store) -> None:
    """Its lease has run out; it goes on by its priority like all others."""
    await _made(store, "a", 1, queue="slow")
    await _made(store, "b", 2, queue="slow", priority=1)
    await store.claim(BERT, lease_seconds=0, run_id=run_id("a"))
    assert await _claim(store, 9, queues=["default"]) == []
    (first, second) = await store.claim(ANNA, lease_seconds=60, limit=9, queues=["slow"])
    assert (first.run_id, second) == (run_id("b"), Claim(run_id("a"), 2, takeover=True, takeovers=1))


@case
async def places_are_shared_between_tenants(store: Store) -> None:
    """However many runs one of them has, and however urgent it finds them."""
    for number in range(20):
        await _made(store, f"n{number}", number, tenant="north", priority=9)
    await _made(store, "s1", 100, tenant="south")
    await _made(store, "s2", 101, tenant="south", priority=1)
    await _made(store, "x", 102)
    assert sorted(await _claim(store, 3)) == ["n0", "s2", "x"]
    assert sorted(await _claim(store, 4)) == ["n1", "n2", "n3", "s1"]


@case
async def a_tenant_with_one_run_waits_for_one_turn_of_each_other(store: Store) -> None:
    """Also where one place after the other becomes free, so that nobody ever has more at work than somebody else."""
    for number in range(10):
        await _made(store, f"n{number + 1}", number, tenant="north")
    served = []
    for number in range(4):
        if number == 1:
            await _made(store, "s1", 100, tenant="south")
            await _made(store, "s2", 101, tenant="south")
        (name,) = await _claim(store)
        served.append(name[0])
        await store.append(append(name, 1, ended(), owner=ANNA, fence=1))
    assert served[0] == "n"
    assert served[1:] in (["n", "s", "n"], ["s", "n", "s"])


@case
async def no_more_than_a_limit_allows_are_at_work(store: Store) -> None:
    """For a queue, a tenant, an agent or a provider; the others go on, and a place that is free again is given."""
    for kind, changes in (
        ("queues", {"queue": "k"}),
        ("tenants", {"tenant": "k"}),
        ("agents", {"needs": ("agent:k",)}),
        ("providers", {"needs": ("provider:k",)}),
    ):
        await _limits(store, **{kind: {"k": {"running": 2}}})
        for number in range(4):
            await _made(store, f"{kind}{number + 1}", number, **changes)
        await _made(store, f"{kind}free", 9)
        claims = await store.claim(ANNA, lease_seconds=60, limit=9)
        assert {claim.run_id for claim in claims} == {
            run_id(f"{kind}1"),
            run_id(f"{kind}2"),
            run_id(f"{kind}free"),
        }, kind
        assert await store.claim(BERT, lease_seconds=60, limit=9) == []
        assert await store.claim(BERT, lease_seconds=60, run_id=run_id(f"{kind}3")) == []
        assert (run_id(f"{kind}3")) in await store.runnable()
        await store.append(append(f"{kind}1", 1, ended(), owner=ANNA, fence=1))
        (next_one,) = await store.claim(BERT, lease_seconds=60, limit=9)
        assert next_one.run_id == run_id(f"{kind}3")
        await _limits(store)
        assert len(await store.claim(BERT, lease_seconds=60, limit=9)) == 1


@case
async def a_bound_for_all_holds_for_each_by_itself(store: Store) -> None:
    """The name `*` stands for those that are not named."""
    await _limits(store, tenants={"*": {"running": 1}, "large": {"running": 2}})
    for tenant in ("small", "tiny", "large"):
        for number in range(3):
            await _made(store, f"{tenant}{number}", number, tenant=tenant)
    await _made(store, "none", 5)
    await _made(store, "nobody", 5)
    claims = [claim.run_id for claim in await store.claim(ANNA, lease_seconds=60, limit=99)]
    assert sorted(claims) == sorted(map(run_id, ("small0", "tiny0", "large0", "large1", "none", "nobody")))


@case
async def the_lease_of_a_lost_worker_takes_no_place(store: Store) -> None:
    """Once it has run out."""
    await _limits(store, tenants={"*": {"running": 1}})
    await _made(store, "a", 1, tenant="north")
    await _made(store, "b", 2, tenant="north")
    await store.claim(BERT, lease_seconds=0, run_id=run_id("b"))
    assert await _claim(store, 9) == ["a"]
    assert await _claim(store, 9) == []


@case
async def a_run_that_is_not_admitted_is_not_born_leased(store: Store) -> None:
    """It waits for its place like all others."""
    await _limits(store, agents={"k": {"running": 1}})
    first = await store.create(new_run("a", needs=("agent:k",), lease_owner=ANNA))
    second = await store.create(new_run("b", needs=("agent:k",), lease_owner=ANNA))
    both = [new_run(name, needs=("agent:other",), lease_owner=ANNA) for name in "cd"]
    assert (first, second) == (True, False)
    assert await asyncio.gather(*map(store.create, both)) == [True, True]
    run = await store.get_run(run_id("b"))
    assert run is not None
    assert (run.fence, run.lease_owner) == (0, None)
    assert await store.claim(BERT, lease_seconds=60, run_id=run_id("b")) == []
    await store.append(append("a", 1, ended(), owner=ANNA, fence=1))
    assert await store.claim(BERT, lease_seconds=60, run_id=run_id("b")) == [Claim(run_id("b"), 1)]


@case
async def runs_that_need_a_paused_provider_wait_and_no_others(store: Store) -> None:
    """Whether it is paused until a moment or held by hand; when the moment has passed, one run finds out for all."""
    now = await store.now()
    for number, needs in enumerate((("provider:p",), ("provider:p", "provider:q"), ("provider:q",), ())):
        await _made(store, f"r{number + 1}", number, needs=needs)
    await _provider(store, "p", held=True)
    assert await _claim(store, 9) == ["r3", "r4"]
    await _provider(store, "p", pauses=1, paused_until=now + 3600)
    assert await _claim(store, 9) == []
    await _provider(store, "p", pauses=1, paused_until=now - 1)
    assert await _claim(store, 9) == ["r1"]
    assert await _claim(store, 9) == []
    # The one that was to find out is at something else for long.
    await _provider(store, "p", pauses=1, paused_until=now - 61)
    assert await _claim(store, 9) == ["r2"]
    await _made(store, "r5", 5, needs=("provider:p",))
    assert await _claim(store, 9) == []
    await _provider(store, "p")
    assert await _claim(store, 9) == ["r5"]


@case
async def a_provider_that_was_asked_as_often_as_it_may_be_is_waited_for(store: Store) -> None:
    """Its allowance comes back with time; where no rate is set, none holds."""
    now = await store.now()
    await _made(store, "a", needs=("provider:p",))
    await store.put_document(RATE, "p", json.dumps(now + 3600))
    await _limits(store, providers={"p": {"requests_per_minute": 60}})
    assert await _claim(store, 9) == []
    await store.put_document(RATE, "p", json.dumps(now + 1))
    assert await _claim(store, 9) == ["a"]
    await _made(store, "b", needs=("provider:p",))
    await store.put_document(RATE, "p", json.dumps(now + 3600))
    await _limits(store)
    assert await _claim(store, 9) == ["b"]


@case
async def rules_that_nobody_can_read_bind_nobody(store: Store) -> None:
    """A newer version may have written them."""
    await _made(store, "a", needs=("provider:p",), tenant="north")
    await store.put_document(LIMITS, FLEET, '{"planets": {"mars": {"running": 0}}}')
    await store.put_document(PROVIDER, "p", "[1, 2")
    assert await _claim(store, 9) == ["a"]


@case
async def waiting_runs_are_counted_by_queue_and_tenant(store: Store) -> None:
    """Up to a bound; what is at work, rests or has ended does not wait."""
    for number in range(3):
        await _made(store, f"a{number}", number, queue="slow", tenant="north")
    await _made(store, "b", queue="slow", tenant="south", needs=("agent:k",))
    await _made(store, "c")
    assert await store.waiting(at_most=100) == 5
    assert await store.waiting(at_most=2) == 2
    assert await store.waiting(queue="slow", at_most=100) == 4
    assert await store.waiting(tenant="north", at_most=100) == 3
    assert await store.waiting(queue="slow", tenant="south", at_most=100) == 1
    assert await store.waiting(queue="unheard", at_most=100) == 0
    assert (await store.gauges()).queues == {"slow": 4, "default": 1}
    await store.claim(ANNA, lease_seconds=60, run_id=run_id("c"))
    await store.append(append("a0", 1, running()))
    await store.append(append("a1", 1, ended()))
    assert await store.waiting(at_most=100) == 3


@case
async def of_several_who_change_a_document_one_does(store: Store) -> None:
    """Each names what it has read, so that no change is lost."""
    assert not await store.change_document("kind", "name", before="old", after="new")
    made = [store.change_document("kind", "name", before=None, after=str(number)) for number in range(10)]
    assert sum(await asyncio.gather(*made)) == 1
    text = await store.get_document("kind", "name")
    changed = [store.change_document("kind", "name", before=text, after=f"again {number}") for number in range(10)]
    assert sum(await asyncio.gather(*changed)) == 1
    text = await store.get_document("kind", "name")
    assert await store.change_document("kind", "name", before=text, after=None)
    assert await store.get_document("kind", "name") is None

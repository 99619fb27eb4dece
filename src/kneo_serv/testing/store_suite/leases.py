"""Claims, fences, renewals, takeovers."""
# ruff: noqa: S101 - these are tests

import asyncio

from kneo_serv.model.ids import Owner
from kneo_serv.model.run import Phase, RunStatus
from kneo_serv.store.contract import Appended, Claim, Refusal, Refused, Store, Timer, TimerKind
from kneo_serv.testing.store_suite.case import case
from kneo_serv.testing.store_suite.samples import ANNA, BERT, START, append, claimed, ended, new_run, run_id, running


@case
async def a_claim_leases_the_oldest_first(store: Store) -> None:
    """Up to `limit`, each once, with a higher fence."""
    for number, name in enumerate("cab"):
        await store.create(new_run(name, created_at=START + number))
    assert list(await store.runnable()) == [run_id("c"), run_id("a"), run_id("b")]
    assert list(await store.runnable(limit=1)) == [run_id("c")]
    assert list(await store.claim(ANNA, lease_seconds=60, limit=2)) == [Claim(run_id("c"), 1), Claim(run_id("a"), 1)]
    assert list(await store.claim(BERT, lease_seconds=60, limit=2)) == [Claim(run_id("b"), 1)]
    assert list(await store.claim(BERT, lease_seconds=60, limit=2)) == []
    assert list(await store.runnable()) == []


@case
async def among_twenty_claimers_each_run_goes_to_one(store: Store) -> None:
    """However many ask at once."""
    for number in range(10):
        await store.create(new_run(str(number)))
    owners = [Owner(f"otherhost:boot:{number}:1") for number in range(20)]
    given = await asyncio.gather(*(store.claim(owner, lease_seconds=60, limit=2) for owner in owners))
    ids = [claim.run_id for claims in given for claim in claims]
    assert sorted(ids) == sorted(run_id(str(number)) for number in range(10))
    named = await asyncio.gather(*(store.claim(owner, lease_seconds=60, run_id=run_id("1")) for owner in owners))
    assert [list(claims) for claims in named] == [[]] * 20


@case
async def among_twenty_claimers_of_one_run_one_gets_it(store: Store) -> None:
    """By name, too."""
    await store.create(new_run("a"))
    owners = [Owner(f"otherhost:boot:{number}:1") for number in range(20)]
    given = await asyncio.gather(*(store.claim(owner, lease_seconds=60, run_id=run_id("a")) for owner in owners))
    assert sorted(len(claims) for claims in given) == [0] * 19 + [1]


@case
async def only_runnable_runs_are_claimed(store: Store) -> None:
    """Not those that wait, are parked or have ended."""
    for phase in Phase:
        await store.create(new_run(phase, phase=phase))
    claims = await store.claim(ANNA, lease_seconds=60, limit=10)
    assert {claim.run_id for claim in claims} == {run_id(Phase.RUNNABLE), run_id(Phase.LEASED)}
    assert list(await store.claim(ANNA, lease_seconds=60, run_id=run_id(Phase.PARKED))) == []
    assert list(await store.claim(ANNA, lease_seconds=60, run_id=run_id("unknown"))) == []


@case
async def a_run_may_be_born_leased(store: Store) -> None:
    """With fence 1, to the owner that the record names."""
    await store.create(new_run("a", lease_owner=ANNA))
    born = await store.get_run(run_id("a"))
    assert born is not None
    assert (born.fence, born.lease_owner, born.phase) == (1, ANNA, Phase.LEASED)
    assert born.lease_expires_at is not None
    assert 0 < born.lease_expires_at - await store.now() <= 30
    assert list(await store.claim(BERT, lease_seconds=60)) == []
    assert await store.append(append("a", 1, fence=1, owner=ANNA)) == Appended(2)


@case
async def an_owner_never_gets_its_own_run_again(store: Store) -> None:
    """Not even after its lease ran out; another owner does."""
    await store.create(new_run("a"))
    await claimed(store, "a", lease_seconds=0)
    assert list(await store.claim(ANNA, lease_seconds=60)) == []
    assert list(await store.runnable()) == [run_id("a")]
    assert list(await store.claim(BERT, lease_seconds=60)) == [Claim(run_id("a"), 2, takeover=True, takeovers=1)]


@case
async def a_stale_fence_is_refused(store: Store) -> None:
    """Whoever lost the lease writes nothing any more, and neither does a stranger with the right number."""
    await store.create(new_run("a"))
    old = await claimed(store, "a", lease_seconds=0)
    new = await claimed(store, "a", BERT)
    refused = Refused(Refusal.FENCE, 1, RunStatus.CREATED)
    assert await store.append(append("a", 1, fence=old, owner=ANNA)) == refused
    assert await store.append(append("a", 1, fence=new, owner=ANNA)) == refused
    assert await store.append(append("a", 1, fence=old, owner=BERT)) == refused
    assert await store.append(append("a", 1, fence=new, owner=BERT)) == Appended(2)
    assert await store.release(run_id("a"), owner=BERT, fence=new)
    assert await store.append(append("a", 2, fence=new, owner=BERT)) == Refused(Refusal.FENCE, 2, RunStatus.RUNNING)


@case
async def takeovers_are_counted_until_there_is_progress(store: Store) -> None:
    """An append with `progress` sets the count back; one without leaves it; a release is no takeover."""
    await store.create(new_run("a"))
    await claimed(store, "a", lease_seconds=0)
    (second,) = await store.claim(BERT, lease_seconds=0, run_id=run_id("a"))
    (third,) = await store.claim(ANNA, lease_seconds=60, run_id=run_id("a"))
    assert (second.takeover, second.takeovers, third.takeover, third.takeovers) == (True, 1, True, 2)
    await store.append(append("a", 1, progress=False))
    kept = await store.get_run(run_id("a"))
    assert kept is not None
    assert kept.takeovers == 2
    await store.append(append("a", 2))
    reset = await store.get_run(run_id("a"))
    assert reset is not None
    assert reset.takeovers == 0
    assert await store.release(run_id("a"), owner=ANNA, fence=third.fence)
    assert list(await store.claim(BERT, lease_seconds=60)) == [Claim(run_id("a"), 4, takeover=False, takeovers=0)]


@case
async def a_renewed_lease_lasts_from_now(store: Store) -> None:
    """Only what the owner still holds is renewed and returned."""
    for name in "abc":
        await store.create(new_run(name))
        await claimed(store, name, lease_seconds=0)
    await claimed(store, "b", BERT)
    wanted = [run_id(name) for name in "abx"]
    assert await store.renew(ANNA, wanted, lease_seconds=60) == {run_id("a")}
    assert list(await store.claim(BERT, lease_seconds=60, run_id=run_id("a"))) == []
    assert len(await store.claim(BERT, lease_seconds=60, run_id=run_id("c"))) == 1
    assert await store.renew(ANNA, [], lease_seconds=60) == frozenset()


@case
async def a_lease_is_given_back_once(store: Store) -> None:
    """By its holder with its fence; then the run is free."""
    await store.create(new_run("a"))
    fence = await claimed(store, "a")
    assert not await store.release(run_id("a"), owner=BERT, fence=fence)
    assert not await store.release(run_id("a"), owner=ANNA, fence=fence + 1)
    assert await store.release(run_id("a"), owner=ANNA, fence=fence)
    assert not await store.release(run_id("a"), owner=ANNA, fence=fence)
    assert list(await store.runnable()) == [run_id("a")]


@case
async def an_append_with_release_ends_the_lease(store: Store) -> None:
    """In the same transaction; the fence stays."""
    await store.create(new_run("a"))
    fence = await claimed(store, "a")
    await store.append(append("a", 1, fence=fence, owner=ANNA, release=True))
    free = await store.get_run(run_id("a"))
    assert free is not None
    assert (free.lease_owner, free.lease_expires_at, free.fence, free.phase) == (None, None, fence, Phase.RUNNABLE)


@case
async def the_end_of_a_run_ends_its_lease(store: Store) -> None:
    """Whoever wrote the end."""
    await store.create(new_run("a"))
    await claimed(store, "a")
    await store.append(append("a", 1, ended(RunStatus.CANCELLED)))
    over = await store.get_run(run_id("a"))
    assert over is not None
    assert (over.lease_owner, over.phase) == (None, Phase.ENDED)


@case
async def a_run_that_waits_for_a_timer_is_woken(store: Store) -> None:
    """It becomes runnable, and its retry timers go; others stay."""
    await store.create(new_run("a"))
    timers = tuple(Timer(run_id("a"), kind, "k", START) for kind in TimerKind)
    await store.append(append("a", 1, running(phase=Phase.WAITING_TIMER), timers=timers))
    assert list(await store.runnable()) == []
    assert await store.wake(run_id("a"))
    assert not await store.wake(run_id("a"))
    assert not await store.wake(run_id("unknown"))
    assert list(await store.runnable()) == [run_id("a")]
    kinds = {timer.kind for timer in await store.due_timers(kinds=tuple(TimerKind))}
    assert kinds == set(TimerKind) - {TimerKind.RETRY}


@case
async def a_parked_run_rests_until_it_is_revived(store: Store) -> None:
    """The fault is named, the lease ends, nobody claims it; `revive` clears the fault."""
    await store.create(new_run("a"))
    fence = await claimed(store, "a")
    assert not await store.park(run_id("a"), owner=BERT, fence=fence, fault="no")
    assert await store.park(run_id("a"), owner=ANNA, fence=fence, fault="event 1 has no meaning")
    parked = await store.get_run(run_id("a"))
    assert parked is not None
    assert (parked.phase, parked.fault, parked.lease_owner) == (Phase.PARKED, "event 1 has no meaning", None)
    assert list(await store.claim(BERT, lease_seconds=60)) == []
    assert await store.append(append("a", 1, revive=True)) == Appended(2)
    revived = await store.get_run(run_id("a"))
    assert revived is not None
    assert (revived.phase, revived.fault) == (Phase.RUNNABLE, None)

"""Human tasks and timers."""
# ruff: noqa: S101 - these are tests

import asyncio

from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.page import Page
from kneo_serv.model.run import RunStatus
from kneo_serv.model.task import Decision, TaskStatus
from kneo_serv.store.contract import (
    Appended,
    Refusal,
    Refused,
    Store,
    TaskClosing,
    TaskEscalation,
    Timer,
    TimerKind,
)
from kneo_serv.testing.store_suite.case import case
from kneo_serv.testing.store_suite.samples import START, append, ended, new_run, run_id, task


def _closing(name: str, status: TaskStatus = TaskStatus.ANSWERED) -> TaskClosing:
    return TaskClosing(ContinuationId(f"cont_{name}"), status, START + 9, Decision.APPROVED, "anna")


@case
async def a_task_is_answered_once(store: Store) -> None:
    """Of many answers at once one wins; the answer and the person are kept."""
    await store.create(new_run("a"))
    await store.append(append("a", 1, opened=(task("t", "a", public_input_text="***"), task("u", "a"))))
    answer = append("a", 2, closed=(_closing("t"),))
    results = await asyncio.gather(*(store.append(answer) for _ in range(5)))
    assert results.count(Appended(3)) == 1
    assert await store.append(append("a", 3, closed=(_closing("t"),))) == Refused(Refusal.TASK, 3, RunStatus.RUNNING)
    answered = await store.get_task(ContinuationId("cont_t"))
    assert answered == task(
        "t",
        "a",
        public_input_text="***",
        status=TaskStatus.ANSWERED,
        answered_at=START + 9,
        decision=Decision.APPROVED,
        actor="anna",
    )
    assert [found.continuation_id for found in await store.list_tasks(run_id=run_id("a"))] == ["cont_u"]


@case
async def a_task_of_another_run_is_not_closed(store: Store) -> None:
    """Even when it is open there."""
    for name in "ab":
        await store.create(new_run(name))
    await store.append(append("a", 1, opened=(task("t", "a"),)))
    assert (await store.append(append("b", 1, closed=(_closing("t"),)))) == Refused(Refusal.TASK, 1, RunStatus.CREATED)
    assert await store.count_tasks() == 1


@case
async def a_task_is_escalated_once(store: Store) -> None:
    """And only while it is open; it stays open."""
    await store.create(new_run("a"))
    await store.append(append("a", 1, opened=(task("t", "a"), task("u", "a"))))
    mark = TaskEscalation(ContinuationId("cont_t"), START + 7)
    assert await store.append(append("a", 2, escalated=(mark,))) == Appended(3)
    marked = await store.get_task(ContinuationId("cont_t"))
    assert marked == task("t", "a", escalated_at=START + 7)
    assert await store.append(append("a", 3, escalated=(mark,))) == Refused(Refusal.TASK, 3, RunStatus.RUNNING)
    await store.append(append("a", 3, closed=(_closing("u"),)))
    late = TaskEscalation(ContinuationId("cont_u"), START + 7)
    assert await store.append(append("a", 4, escalated=(late,))) == Refused(Refusal.TASK, 4, RunStatus.RUNNING)


@case
async def the_end_of_a_run_cancels_its_tasks_and_timers(store: Store) -> None:
    """Also those that came with the same append; answered tasks and other runs keep theirs."""
    for name in "ab":
        await store.create(new_run(name))
        await store.append(
            append(
                name,
                1,
                opened=(task(f"{name}1", name), task(f"{name}2", name)),
                timers=(Timer(run_id(name), TimerKind.RUN_DEADLINE, "", START + 1),),
            )
        )
    await store.append(append("a", 2, closed=(_closing("a1"),)))
    late = append(
        "a",
        3,
        ended(RunStatus.FAILED),
        opened=(task("a3", "a"),),
        timers=(Timer(run_id("a"), TimerKind.RETRY, "k", START),),
    )
    assert await store.append(late) == Appended(4)
    found = await store.list_tasks(run_id=run_id("a"), status=None)
    assert {one.continuation_id: one.status for one in found} == {
        "cont_a1": TaskStatus.ANSWERED,
        "cont_a2": TaskStatus.CANCELLED,
        "cont_a3": TaskStatus.CANCELLED,
    }
    assert await store.count_tasks(run_id=run_id("a")) == 0
    assert await store.count_tasks(run_id=run_id("b")) == 2
    assert [timer.run_id for timer in await store.due_timers(kinds=tuple(TimerKind))] == [run_id("b")]


@case
async def tasks_are_listed_oldest_first(store: Store) -> None:
    """By run and status, page by page; ties are broken, so no task is on two pages."""
    await store.create(new_run("a"))
    await store.create(new_run("b"))
    times = {"x": 3.0, "y": 1.0, "z": 2.0, "zz": 2.0}
    await store.append(append("a", 1, opened=tuple(task(name, "a", created_at=at) for name, at in times.items())))
    await store.append(append("b", 1, opened=(task("b", "b", created_at=0.5),)))
    await store.append(append("a", 2, closed=(_closing("y", TaskStatus.EXPIRED),)))
    listed = [found.continuation_id for found in await store.list_tasks(status=None)]
    assert listed == ["cont_b", "cont_y", "cont_z", "cont_zz", "cont_x"]
    assert [found.continuation_id for found in await store.list_tasks()] == ["cont_b", "cont_z", "cont_zz", "cont_x"]
    assert [found.continuation_id for found in await store.list_tasks(status=TaskStatus.EXPIRED)] == ["cont_y"]
    pages = [await store.list_tasks(status=None, page=Page(limit=2, offset=offset)) for offset in (0, 2, 4)]
    assert [found.continuation_id for page in pages for found in page] == listed
    assert await store.count_tasks() == 4
    assert await store.count_tasks(status=None) == 5
    assert await store.count_tasks(run_id=run_id("a"), status=None) == 4
    expired = await store.get_task(ContinuationId("cont_y"))
    assert expired is not None
    assert (expired.status, expired.answered_at) == (TaskStatus.EXPIRED, None)
    assert await store.get_task(ContinuationId("cont_none")) is None


@case
async def timers_are_due_strictly_after_their_moment(store: Store) -> None:
    """Earliest first, of the wanted kinds; one of the same key is replaced, a cleared one goes."""
    await store.create(new_run("a"))
    assert await store.next_due() is None
    retry, human, deadline = (
        Timer(run_id("a"), kind, key, START + number)
        for number, (kind, key) in enumerate(
            [(TimerKind.RETRY, "k"), (TimerKind.HUMAN_DEADLINE, "c"), (TimerKind.RUN_DEADLINE, "")]
        )
    )
    await store.append(append("a", 1, timers=(deadline, retry, human)))
    everything = tuple(TimerKind)
    assert list(await store.due_timers(kinds=everything, now=START + 5)) == [retry, human, deadline]
    assert list(await store.due_timers(kinds=everything)) == [retry, human, deadline]
    assert list(await store.due_timers(kinds=everything, now=START + 5, limit=1)) == [retry]
    assert list(await store.due_timers(kinds=everything, now=START + 1)) == [retry]
    assert list(await store.due_timers(kinds=(TimerKind.RUN_DEADLINE,), now=START + 5)) == [deadline]
    assert list(await store.due_timers(kinds=(), now=START + 5)) == []
    assert await store.next_due() == START
    later = Timer(run_id("a"), TimerKind.RETRY, "k", START + 50)
    await store.append(append("a", 2, timers=(later,), cleared=((TimerKind.HUMAN_DEADLINE, "c"),)))
    assert list(await store.due_timers(kinds=everything, now=START + 60)) == [deadline, later]
    await store.append(append("a", 3, timers=(retry,), cleared=((TimerKind.RETRY, "k"),)))
    assert await store.next_due() == START

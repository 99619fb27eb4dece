"""Pages of lists: behind a cursor, in every order, with filters; and numbers at a glance."""
# ruff: noqa: S101 - these are tests

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.page import AuditFilter, Cursor, Page, RunFilter
from kneo_serv.model.run import Phase, RunStatus
from kneo_serv.model.task import Decision, TaskStatus
from kneo_serv.store.contract import Gauges, Store, TaskClosing, TaskEscalation
from kneo_serv.testing.store_suite.case import case, refusal
from kneo_serv.testing.store_suite.samples import ANNA, START, append, audit, claimed, ended, new_run, run_id, task

_RUN_SORTS = ("created_at", "updated_at", "started_at", "completed_at", "status", "workflow_name", "agent_name")
_RUN_FILTERS = (
    RunFilter(),
    RunFilter(status=("running", "paused")),
    RunFilter(tenant="north"),
    RunFilter(tenant="north", status=("running",)),
    RunFilter(session_id="s"),
    RunFilter(workflow_name="w1"),
    RunFilter(has_error=True),
    RunFilter(has_error=False),
    RunFilter(created_after=START + 1),
    RunFilter(q="boom"),
)

type Read[T] = Callable[[Page], Awaitable[Sequence[T]]]


async def _walk[T](read: Read[T], page: Page, cursor: Callable[[T], Cursor]) -> list[T]:
    """All rows, page by page behind the last row of the page before."""
    found: list[T] = []
    while rows := await read(page):
        found += rows
        page = replace(page, after=cursor(rows[-1]))
    return found


def _ordered(rows: Sequence[Any], sort: str, name: str, *, descending: bool) -> list[Any]:
    """The rows as the contract orders them: what has nothing there last, ties by id."""
    present = [row for row in rows if getattr(row, sort) is not None]
    absent = [row for row in rows if getattr(row, sort) is None]
    present.sort(key=lambda row: (getattr(row, sort), getattr(row, name)), reverse=descending)
    absent.sort(key=lambda row: getattr(row, name), reverse=descending)
    return [*present, *absent]


@case
async def pages_behind_a_cursor_hold_each_run_once_by_every_sort(store: Store) -> None:
    """In both directions, with every filter; what has nothing in the column comes last both ways."""
    for number in range(14):
        moment = START + number % 3
        missing = number % 4 == 0
        await store.create(
            new_run(
                f"{number:02d}",
                created_at=moment,
                updated_at=START + (number * 5) % 7,
                started_at=None if missing else moment,
                completed_at=None if missing else moment,
                workflow_name=None if missing else f"w{number % 2}",
                agent_name=None if number % 3 else "one",
                status=RunStatus.RUNNING if number % 4 else RunStatus.BLOCKED,
                session_id="s" if number % 2 else None,
                tenant="north" if number % 3 else None,
                error_type="Oops" if number % 5 == 0 else None,
                error_message="boom" if number % 5 == 0 else None,
            )
        )
    everything = await store.list_runs(RunFilter(), Page())
    assert len(everything) == 14
    for filters in _RUN_FILTERS:
        own = {run.id for run in await store.list_runs(filters, Page())}
        assert len(own) == await store.count_runs(filters) > 0
        for sort in _RUN_SORTS:
            for descending in (False, True):
                wanted = _ordered([run for run in everything if run.id in own], sort, "id", descending=descending)
                page = Page(limit=3, sort=sort, descending=descending)

                async def read(page: Page, filters: RunFilter = filters) -> Sequence[Any]:
                    return await store.list_runs(filters, page)

                def cursor(run: Any, sort: str = sort) -> Cursor:
                    return Cursor(getattr(run, sort), run.id)

                assert await _walk(read, page, cursor) == wanted, (filters, sort, descending)
                assert list(await store.list_runs(filters, replace(page, offset=2))) == wanted[2:5]
                middle = replace(page, after=cursor(wanted[0]), offset=1)
                assert list(await store.list_runs(filters, middle)) == wanted[2:5]


@case
async def a_page_behind_a_cursor_is_stable_under_writes(store: Store) -> None:
    """What comes in before it moves nothing; what was removed may still be a cursor."""
    for number in range(6):
        await store.create(new_run(str(number), created_at=START + number, updated_at=START + number))
    page = Page(limit=2, sort="created_at")
    first = await store.list_runs(RunFilter(), page)
    await store.create(new_run("new", created_at=START + 100))
    behind = Cursor(first[-1].created_at, first[-1].id)
    second = await store.list_runs(RunFilter(), replace(page, after=behind))
    assert [run.id for run in (*first, *second)] == [run_id(name) for name in "5432"]
    nobody = Cursor(START + 2.5, run_id("nobody"))
    assert [run.id for run in await store.list_runs(RunFilter(), replace(page, after=nobody))] == [
        run_id("2"),
        run_id("1"),
    ]


@case
async def a_cursor_of_another_sort_is_refused(store: Store) -> None:
    """Rather than giving any page; and a list names the sorts that it has."""
    await store.create(new_run("a"))
    for after in (Cursor(None, "x"), Cursor("text", "x")):
        await refusal(InvalidRequestError, store.list_runs(RunFilter(), Page(sort="created_at", after=after)))
    await refusal(InvalidRequestError, store.list_runs(RunFilter(), Page(sort="status", after=Cursor(1.0, "x"))))
    assert "expires_at" in await refusal(InvalidRequestError, store.list_tasks(page=Page(sort="updated_at")))
    assert "created_at" in await refusal(InvalidRequestError, store.list_audit(AuditFilter(), Page(sort="actor")))


@case
async def light_rows_lack_only_what_may_be_long(store: Store) -> None:
    """Input, output, tags and metadata; everything else is as it is."""
    given = new_run(
        "a",
        input_text="in",
        public_input_text="i*",
        output_text="out",
        public_output_text="o*",
        tags=("t",),
        metadata={"k": 1},
        tenant="north",
        cost_usd=0.25,
        requests=2,
        cached_tokens=3,
        input_tokens=4,
        started_at=START + 0.1,
    )
    await store.create(given)
    (whole,) = await store.list_runs(RunFilter(), Page())
    (light,) = await store.list_runs(RunFilter(), Page(), texts=False)
    assert whole == given.record
    assert light == replace(
        whole, input_text="", public_input_text=None, output_text=None, public_output_text=None, tags=(), metadata={}
    )
    assert list(await store.list_runs(RunFilter(q="o*"), Page(), texts=False)) == [light]


async def _tasks(store: Store) -> None:
    """Ten tasks of two runs: some without a deadline, some escalated, one answered, of two kinds of workflow."""
    for name in "ab":
        await store.create(new_run(name, tenant="north" if name == "b" else None))
        opened = tuple(
            task(
                f"{name}{number}",
                name,
                created_at=START + (number * 3) % 4,
                expires_at=None if number % 2 else START + 50 + (number * 3) % 5,
                workflow_kind="graph" if number == 3 else "sequential",
            )
            for number in range(6)
        )
        await store.append(append(name, 1, opened=opened))
        marks = tuple(TaskEscalation(ContinuationId(f"cont_{name}{number}"), START + 60) for number in (2, 4))
        answer = TaskClosing(ContinuationId(f"cont_{name}5"), TaskStatus.ANSWERED, START, Decision.APPROVED, "anna")
        await store.append(append(name, 2, escalated=marks, closed=(answer,)))


@case
async def human_tasks_are_paged_in_either_order(store: Store) -> None:
    """By age or deadline, those without a deadline last; with every filter; and counted."""
    await _tasks(store)
    everything = await store.list_tasks(status=None)
    assert len(everything) == 12
    filters: tuple[dict[str, Any], ...] = (
        {},
        {"status": None},
        {"status": TaskStatus.ANSWERED},
        {"escalated": True},
        {"escalated": False},
        {"escalated": False, "status": None},
        {"run_id": run_id("a")},
        {"run_id": run_id("b"), "escalated": True, "tenant": "north"},
        {"workflow_kind": "graph"},
        {"tenant": "north"},
        {"tenant": "north", "escalated": False},
        {"tenant": "", "workflow_kind": "sequential"},
        {"tenant": "north", "status": None},
    )

    def passes(one: Any, wanted: dict[str, Any]) -> bool:
        status = wanted.get("status", TaskStatus.OPEN)
        return (
            status in (None, one.status)
            and wanted.get("escalated") in (None, one.escalated_at is not None)
            and wanted.get("run_id") in (None, one.run_id)
            and wanted.get("workflow_kind") in (None, one.workflow_kind)
            and wanted.get("tenant") in (None, one.tenant or "")
        )

    for wanted in filters:
        own = [one for one in everything if passes(one, wanted)]
        assert 0 < len(own) == await store.count_tasks(**wanted)
        assert await store.count_tasks(**wanted, at_most=1) == min(len(own), 2)
        for sort in ("created_at", "expires_at"):
            for descending in (False, True):
                expected = _ordered(own, sort, "continuation_id", descending=descending)
                page = Page(limit=2, sort=sort, descending=descending)

                async def read(page: Page, wanted: dict[str, Any] = wanted) -> Sequence[Any]:
                    return await store.list_tasks(**wanted, page=page)

                def cursor(one: Any, sort: str = sort) -> Cursor:
                    return Cursor(getattr(one, sort), one.continuation_id)

                assert await _walk(read, page, cursor) == expected, (wanted, sort, descending)
                assert list(await store.list_tasks(**wanted, page=replace(page, offset=1))) == expected[1:3]
                assert list(await store.list_tasks(**wanted, page=replace(page, limit=1000))) == expected
    assert [one.continuation_id for one in await store.list_tasks(page=Page(limit=3))] == [
        "cont_a0",
        "cont_a4",
        "cont_b0",
    ]


@case
async def audit_events_are_filtered_and_paged(store: Store) -> None:
    """By type, run, actor, time and tenant; those of one moment in the order in which they were written."""
    await store.create(new_run("a"))
    await store.create(new_run("b", tenant="north"))
    names = ["z", "b", "y", "a", "x", "c", "w", "d"]
    for number, name in enumerate(names):
        await store.add_audit(
            [
                audit(
                    name,
                    created_at=START + number // 3,
                    event_type="run.created" if number % 2 else "run.cancelled",
                    actor="anna" if number % 3 else None,
                    run_id=run_id("ab"[number % 2]) if number < 5 else None,
                    tenant="north" if number > 5 else None,
                )
            ]
        )
    everything = {found.id: found for found in await store.list_audit(AuditFilter(), Page(limit=100))}
    assert list(everything) == [f"aud_{name}" for name in reversed(names)]
    filters = (
        (AuditFilter(), "dwcxaybz"),
        (AuditFilter(event_type="run.created"), "dcab"),
        (AuditFilter(run_id=run_id("a")), "xyz"),
        (AuditFilter(actor="anna"), "dcxyb"),
        (AuditFilter(actor="anna", event_type="run.cancelled"), "xy"),
        (AuditFilter(created_after=START + 1), "dwcxa"),
        (AuditFilter(created_before=START + 1), "ybz"),
        (AuditFilter(created_after=START + 1, created_before=START + 2), "cxa"),
        (AuditFilter(tenant="north"), "dwab"),
        (AuditFilter(tenant="north", run_id=run_id("b")), "ab"),
        (AuditFilter(tenant="", event_type="run.cancelled"), "xyz"),
    )
    for wanted, letters in filters:
        assert await store.count_audit(wanted) == len(letters)
        assert await store.count_audit(wanted, at_most=1) == 2
        for descending in (True, False):

            async def read(page: Page, wanted: AuditFilter = wanted) -> Sequence[Any]:
                return await store.list_audit(wanted, page)

            page = Page(limit=2, descending=descending)
            found = await _walk(read, page, lambda event: Cursor(event.created_at, event.id))
            expected = letters if descending else letters[::-1]
            assert [event.id for event in found] == [f"aud_{name}" for name in expected], (wanted, descending)


@case
async def counting_may_stop_early(store: Store) -> None:
    """One more than `at_most` stands for any larger number."""
    for number in range(5):
        await store.create(new_run(str(number), session_id="s", tenant="north"))
    for filters in (RunFilter(), RunFilter(session_id="s"), RunFilter(tenant="north"), RunFilter(has_error=False)):
        assert [await store.count_runs(filters, at_most=most) for most in (0, 3, 4, 5, 9)] == [1, 4, 5, 5, 5]
    assert await store.count_runs(RunFilter(session_id="none"), at_most=3) == 0


@case
async def gauges_tell_how_much_there_is(store: Store) -> None:
    """By status; queued, leased and waiting, and how long the first of them does."""
    empty = dict.fromkeys(RunStatus, 0)
    assert await store.gauges() == Gauges(empty, 0, None, 0, None, 0)
    for number, name in enumerate("abcd"):
        await store.create(new_run(name, created_at=START + number))
    await claimed(store, "a")
    await claimed(store, "b", lease_seconds=0)
    opened = (task("t", "d", created_at=START + 9), task("u", "d", created_at=START + 8))
    await store.append(append("d", 1, _blocked(), opened=opened))
    runs = empty | {RunStatus.CREATED: 3, RunStatus.BLOCKED: 1}
    # The lease of b has run out, so that it may be claimed again.
    assert await store.gauges() == Gauges(runs, 2, START + 1, 2, START + 8, 1, {"default": 1})
    for name in "abcd":
        await store.append(append(name, 2 if name == "d" else 1, ended(RunStatus.COMPLETED)))
    assert await store.gauges() == Gauges(empty | {RunStatus.COMPLETED: 4}, 0, None, 0, None, 0)
    await store.create(new_run("e", lease_owner=ANNA))
    assert (await store.gauges()).leases == 1


def _blocked() -> Any:
    return replace(ended(RunStatus.BLOCKED), phase=Phase.WAITING_HUMAN, completed_at=None)


@case
async def the_last_position_is_that_of_the_newest_event(store: Store) -> None:
    """Nought while there is none; and a feed from there on is empty."""
    assert await store.last_position() == 0
    await store.create(new_run("a"))
    await store.append(append("a", 1))
    assert await store.last_position() == (await store.feed())[-1].position
    assert list(await store.feed(after=await store.last_position())) == []


@case
async def a_document_is_swapped_for_the_previous_one(store: Store) -> None:
    """Of many at once each gets another one's, so that no change goes unseen."""
    assert await store.swap_document("policy", "production", "0") is None
    previous = await asyncio.gather(
        *(store.swap_document("policy", "production", str(number)) for number in range(1, 9))
    )
    last = await store.get_document("policy", "production")
    assert sorted([*map(str, previous), str(last)]) == [str(number) for number in range(9)]
    assert await store.swap_document("policy", "production", None) == last
    assert await store.swap_document("policy", "production", None) is None
    assert await store.list_documents("policy") == {}

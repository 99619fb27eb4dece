import asyncio
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.model.ids import RequestId, RunId
from kneo_serv.model.page import AuditFilter
from kneo_serv.model.plan import OnTimeout, RequestType
from kneo_serv.model.task import HumanRequest
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.reminders import next_reminder
from kneo_serv.platform.views import trace_events
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.contract import Timer, TimerKind
from kneo_serv.tools import ToolRegistry
from tests.platform.worlds import answer, audit, kinds, opened, person, plan, run, spec, step, task_of


def request(every: float | None, at_most: int = 3, **more: Any) -> HumanRequest:
    return HumanRequest(
        RequestId("req_a"), RequestType.APPROVAL, "", "", "ask",
        remind_every_seconds=every, max_reminders=at_most, **more,
    )  # fmt: skip


async def reminders(platform: Platform, run_id: RunId) -> list[Timer]:
    due = await platform.store.due_timers(kinds=(TimerKind.REMINDER,), now=1e12)
    return [timer for timer in due if timer.run_id == run_id]


def test_each_reminder_is_written_down_once_by_whoever_fires_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform, opened(tmp_path) as other:
            flow = plan(person(remind_every_seconds=60, max_reminders=2, assignee="mia"), step("exclaim"))
            record = await run(platform, flow)
            task = await task_of(platform, record.id)
            for number in (1, 2):
                (timer,) = await reminders(platform, record.id)
                assert timer.due_at == pytest.approx(task.created_at + 60 * number)
                fired = await asyncio.gather(*(side.fire(timer) for side in (platform, other, platform, other)))
                assert sorted(fired) == [False, False, False, True]
            assert await reminders(platform, record.id) == []
            assert (await kinds(platform, record.id)).count("human_reminded") == 2
            events = await platform.store.list_audit(AuditFilter("human.reminded"))
            assert sorted(event.metadata["number"] for event in events) == [1, 2]
            assert {(event.continuation_id, event.metadata["assignee"]) for event in events} == {
                (task.continuation_id, "mia")
            }
            lines, _ = trace_events(await platform.record(record.id), await platform.events(record.id))
            told = [line for line in lines if line["type"] == "human_reminded"]
            assert [line["metadata"]["number"] for line in told] == [1, 2]
            # It is still open, and takes its answer.
            assert (await platform.record(record.id)).status == "blocked"
            assert (await answer(platform, record.id)).output_text == "tea!"

    asyncio.run(story())


def test_who_has_answered_is_reminded_no_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(person(remind_every_seconds=60), step("exclaim")))
            (timer,) = await reminders(platform, record.id)
            await answer(platform, record.id)
            assert await reminders(platform, record.id) == []
            assert not await platform.fire(timer)
            assert "human.reminded" not in await audit(platform, record.id)

    asyncio.run(story())


def test_nobody_is_reminded_without_being_asked_to(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(person()))
            assert await reminders(platform, record.id) == []

    asyncio.run(story())


@pytest.mark.parametrize(
    ("every", "after", "given", "expires", "due"),
    [
        (60, 0, 0, None, 60),
        (60, 59.9, 0, None, 60),
        (60, 60, 1, None, 120),
        (60, 1000, 1, None, 1020),
        (60, 0, 3, None, None),
        (None, 0, 0, None, None),
        (60, 0, 0, 60, None),
        (60, 0, 0, 61, 60),
    ],
)
def test_reminders_come_at_multiples_while_the_question_is_open(
    every: float | None, after: float, given: int, expires: float | None, due: float | None
) -> None:
    assert next_reminder(request(every), asked_at=0, expires_at=expires, after=after, given=given) == due


def test_reminders_go_on_for_a_question_that_stays_open_after_its_deadline() -> None:
    escalating = request(60, on_timeout=OnTimeout.ESCALATE)
    assert next_reminder(escalating, asked_at=0, expires_at=30, after=0) == 60


def test_every_moment_of_an_odd_interval_is_passed() -> None:
    due = 0.0
    for given in range(99):
        following = next_reminder(request(1.1, 100), asked_at=0.7, expires_at=None, after=due, given=given)
        assert following is not None
        assert following > due
        due = following


@pytest.mark.parametrize(
    ("human", "code"),
    [
        ({"remind_every_seconds": 0}, "E_HUMAN_REMINDER"),
        ({"remind_every_seconds": -1}, "E_HUMAN_REMINDER"),
        ({"remind_every_seconds": 60, "max_reminders": 0}, "E_HUMAN_REMINDER"),
        ({"remind_every_seconds": 60, "max_reminders": 101}, "E_HUMAN_REMINDER"),
        ({"remind_every_seconds": 60, "timeout_seconds": 60}, "W_HUMAN_REMINDER_NEVER"),
        ({"remind_every_seconds": 60, "timeout_seconds": 60, "on_timeout": "escalate"}, None),
        ({"remind_every_seconds": 60, "timeout_seconds": 61}, None),
    ],
)
def test_reminders_that_cannot_be_are_found_when_a_spec_is_checked(human: dict[str, Any], code: str | None) -> None:
    compiler = SpecCompiler(runtime_registry=RuntimeRegistry(), tool_registry=ToolRegistry())
    found = [item.code for item in compiler.validate(spec(person(**human))).diagnostics if "REMIND" in item.code]
    assert found == ([] if code is None else [code])

"""Runs with one session id: what they remember of each other, and in which order they begin."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import SessionBusyError
from kneo_serv.model.run import RunStatus, SessionConcurrency
from kneo_serv.platform.platform import Submission
from kneo_serv.settings import Settings
from tests.platform.functions import GATES
from tests.platform.speakers import Speakers, compiled, opened
from tests.platform.worlds import PATIENCE, answer, begun, person, run, step
from tests.platform.worlds import plan as flow_of

ALONE: dict[str, Any] = {"target": "agent", "session_id": "s"}


def test_an_agent_remembers_what_was_said_in_its_session(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Speakers()
        async with opened(tmp_path, stage) as platform:
            plan = compiled({"system_prompt": "be kind"})
            for text in ("one", "two", "three"):
                await run(platform, plan, text, **ALONE)
            await run(platform, plan, "elsewhere", target="agent", session_id="t")
            await run(platform, plan, "nowhere", target="agent")
        *_, third, other, none = stage.told_to("root")
        assert third == [
            ("system", "be kind"), ("user", "one"), ("assistant", "root heard one"), ("user", "two"),
            ("assistant", "root heard two"), ("user", "three"),
        ]  # fmt: skip
        assert other == [("system", "be kind"), ("user", "elsewhere")]
        assert none == [("system", "be kind"), ("user", "nowhere")]

    asyncio.run(story())


def test_tenants_with_one_session_id_know_nothing_of_each_other(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Speakers()
        async with opened(tmp_path, stage) as platform:
            plan = compiled({"system_prompt": "be kind"})
            for tenant in ("north", "south", None):
                for text in (f"first of {tenant}", f"second of {tenant}"):
                    await run(platform, plan, text, tenant=tenant, **ALONE)
        for number, tenant in enumerate(("north", "south", None)):
            assert stage.told_to("root")[2 * number + 1] == [
                ("system", "be kind"), ("user", f"first of {tenant}"), ("assistant", f"root heard first of {tenant}"),
                ("user", f"second of {tenant}"),
            ]  # fmt: skip

    asyncio.run(story())


def test_a_tenant_does_not_wait_for_the_session_of_another_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers()) as platform:
            gated = flow_of(step("gated"))
            first = await begun(platform, gated, "held by north", session_id="s", tenant="north")
            done = await run(platform, flow_of(step("upper")), "tea", session_id="s", tenant="south")
            assert (done.status, done.tenant) == (RunStatus.COMPLETED, "south")
            GATES["held by north"].passable.set()
            await platform.run_to_rest(first, patience=PATIENCE)

    asyncio.run(story())


def test_each_agent_remembers_its_own_words(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Speakers()
        async with opened(tmp_path, stage) as platform:
            plan = compiled(None, step("a", "agent"), step("b", "agent"), a={}, b={})
            await run(platform, plan, "one", session_id="s")
            await run(platform, plan, "two", session_id="s")
        assert stage.told_to("b")[1] == [
            ("user", "a heard one"), ("assistant", "b heard a heard one"), ("user", "a heard two")
        ]  # fmt: skip

    asyncio.run(story())


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        ("auto", [("user", "one"), ("assistant", "root heard one")]),
        ("user_only", [("user", "one")]),
        ("assistant_only", [("assistant", "root heard one")]),
        ("never", []),
    ],
)
def test_append_mode_says_what_is_kept(tmp_path: Path, mode: str, kept: list[tuple[str, str]]) -> None:
    async def story() -> None:
        stage = Speakers()
        async with opened(tmp_path, stage) as platform:
            plan = compiled({"defaults": {"append_mode": mode}})
            for text in ("one", "two"):
                await run(platform, plan, text, **ALONE)
        assert stage.told_to("root")[1] == [*kept, ("user", "two")]

    asyncio.run(story())


def test_only_what_was_let_pass_and_completed_is_remembered(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Speakers({"root": ["a secret", "fine", "here"]})
        async with opened(tmp_path, stage) as platform:
            guard = {"id": "g", "type": "keyword", "config": {"keywords": ["secret"]}}
            plan = compiled({"guardrails": {"output": [guard]}})
            failed = await run(platform, plan, "one", **ALONE)
            assert failed.status == RunStatus.FAILED
            for text in ("two", "three"):
                await run(platform, plan, text, **ALONE)
        assert stage.told_to("root")[-1] == [("user", "two"), ("assistant", "fine"), ("user", "three")]

    asyncio.run(story())


def test_a_resumed_run_sees_the_session_as_it_was(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Speakers()
        async with opened(tmp_path, stage) as platform:
            asks = {"id": "ask", "kind": "human", "ref": "person"}
            plan = compiled(None, asks, step("root", "agent"))
            await run(platform, compiled(), "zero", **ALONE)
            record = await run(platform, plan, "one", session_id="s")
            assert record.status == RunStatus.BLOCKED
            await run(platform, compiled(), "in between", **ALONE)
            await answer(platform, record.id)
        assert stage.told_to("root")[-1] == [("user", "zero"), ("assistant", "root heard zero"), ("user", "one")]

    asyncio.run(story())


def test_the_memory_of_a_session_is_bounded(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Speakers()
        async with opened(tmp_path, stage) as platform:
            for number in range(27):
                await run(platform, compiled(), str(number), **ALONE)
            newest = stage.told_to("root")[-1]
            assert (len(newest), newest[0]) == (51, ("user", "1"))
            for letter in "xyz":
                await run(platform, compiled(), letter * 20_000, **ALONE)
        assert [text[-1] for _, text in stage.told_to("root")[-1]] == ["y", "y", "z"]

    asyncio.run(story())


def test_a_run_begins_when_the_one_before_it_has_ended(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers()) as platform:
            plan = flow_of(step("gated_async"))
            first = await begun(platform, plan, "queue-1", session_id="s")
            second = await platform.start(Submission(plan, "queue-2", session_id="s"), hold=True)
            assert second.started_at is None
            waited = await platform.run_to_rest(second.id, patience=0.1)
            assert (waited.started_at, waited.lease_owner) == (None, None)
            assert not GATES["queue-2"].reached.is_set()
            GATES["queue-1"].passable.set()
            GATES["queue-2"].passable.set()
            done = await platform.run_to_rest(second.id, patience=PATIENCE)
            earlier = await platform.record(first)
            assert (done.status, earlier.status) == ("completed", "completed")
            assert (done.started_at or 0) >= (earlier.completed_at or 0)

    asyncio.run(story())


def test_a_run_that_waits_for_people_holds_up_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers()) as platform:
            waiting = await run(platform, flow_of(person()), "one", session_id="s")
            assert waiting.status == RunStatus.BLOCKED
            other = await run(platform, flow_of(step("upper")), "two", session_id="s")
            assert other.status == RunStatus.COMPLETED

    asyncio.run(story())


def test_who_waits_executes_what_is_before(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers()) as platform:
            left = await platform.start(Submission(flow_of(step("upper")), "one", session_id="s"))
            done = await run(platform, flow_of(step("upper")), "two", session_id="s")
            assert (done.status, (await platform.record(left.id)).status) == ("completed", "completed")

    asyncio.run(story())


def test_a_busy_session_may_refuse(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers(), session_concurrency=SessionConcurrency.REJECT) as platform:
            plan = flow_of(step("gated_async"))
            first = await begun(platform, plan, "reject-1", session_id="s")
            with pytest.raises(SessionBusyError, match="Session s has a run at work"):
                await platform.start(Submission(plan, "reject-2", session_id="s"), hold=True)
            GATES["reject-1"].passable.set()
            assert (await platform.run_to_rest(first, patience=PATIENCE)).status == "completed"

    asyncio.run(story())


def test_runs_of_a_session_may_run_side_by_side(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers(), session_concurrency=SessionConcurrency.INTERLEAVE) as platform:
            plan = flow_of(step("gated_async"))
            await begun(platform, plan, "beside-1", session_id="s")
            await begun(platform, plan, "beside-2", session_id="s")
            for text in ("beside-1", "beside-2"):
                GATES[text].passable.set()

    asyncio.run(story())


def test_the_platforms_token_budget_holds_where_the_plan_has_none(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers(tokens=8), token_budget=7) as platform:
            over = await run(platform, compiled(), "one", target="agent")
            assert (over.status, over.error_type) == ("failed", "token_budget_exceeded")
            model = {"provider": "dummy", "name": "m", "token_budget": 100}
            within = await run(platform, compiled({"model": model}), "two", target="agent")
            assert within.status == "completed"

    asyncio.run(story())


def test_the_settings_reach_the_platform() -> None:
    environ = {"KNEO_SERV_SESSION_CONCURRENCY": "reject", "KNEO_SERV_TOKEN_BUDGET": "9"}
    options = Settings.from_env(environ).platform_options()
    assert (options.session_concurrency, options.token_budget) == (SessionConcurrency.REJECT, 9)

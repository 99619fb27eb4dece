"""A provider that fails is left alone by the whole fleet, and runs that need it wait without costing anything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import ProviderError, ProviderPausedError
from kneo_serv.model.ids import RunId
from kneo_serv.model.limits import limits_from
from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.page import AuditFilter
from kneo_serv.model.plan import AgentPlan, Plan
from kneo_serv.model.provider_state import ProviderState, Standing
from kneo_serv.model.run import Phase, RunRecord
from kneo_serv.platform.breaker import after_answer, after_failure
from kneo_serv.platform.doctor import check_journals
from kneo_serv.platform.options import BreakerOptions
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.tools import ToolRegistry
from tests.platform.worlds import PATIENCE, options, run, until

QUICK = BreakerOptions(failures=2, pause_seconds=0.3, window_seconds=60, held_seconds=0.3)


class Models:
    """Providers that are up or down."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.refuses = False
        self.asked: list[str] = []

    def problem(self, agent: AgentPlan) -> str | None:
        return None

    def create(self, agent: AgentPlan) -> "Model":
        assert agent.model is not None
        return Model(self, agent.model.provider)


class Model:
    def __init__(self, models: Models, provider: str) -> None:
        self._models = models
        self._provider = provider

    async def turn(self, request: TurnRequest) -> Turn:
        self._models.asked.append(self._provider)
        if self._provider in self._models.down:
            raise ProviderError("HTTP 503", provider=self._provider, transient=not self._models.refuses)
        return Turn(f"{self._provider} says yes")

    async def aclose(self) -> None:
        return


def plan(*steps: dict[str, Any]) -> Plan:
    document = {
        "version": "v1",
        "agent": {"name": "nobody"},
        "workflow": {"type": "sequential", "name": "flow", "steps": list(steps)},
        "components": {
            "agents": {name: {"name": name, "model": {"provider": name, "name": "m"}} for name in ("first", "second")},
        },
    }
    return SpecCompiler(runtime_registry=Models(), tool_registry=ToolRegistry()).compile_dict(document).plan


ASK = {"id": "ask", "kind": "agent", "ref": "first"}


@asynccontextmanager
async def opened(path: Path, models: Models, **more: Any) -> AsyncIterator[Platform]:
    given = {"breaker": QUICK, "short_wait_seconds": 0.0, **more}
    store = SQLiteStore(path / "runs.sqlite")
    platform = Platform(store=store, tools=ToolRegistry(), runtimes=models, options=options(**given))
    await platform.open()
    try:
        yield platform
        assert await check_journals(platform.store) == []
    finally:
        await platform.close(timeout=5)


async def waits(platform: Platform, run_id: RunId) -> bool:
    return (await platform.record(run_id)).phase is Phase.WAITING_TIMER


async def ends(platform: Platform, run_id: RunId) -> RunRecord:
    return await platform.run_to_rest(run_id, patience=PATIENCE)


async def standing(platform: Platform, name: str = "first") -> Standing:
    now = await platform.store.now()
    return next((one.standing(now) for one in await platform.fleet.providers.all() if one.name == name), Standing.OPEN)


async def audited(platform: Platform) -> list[tuple[str, str | None]]:
    events = await platform.store.list_audit(AuditFilter())
    return [(one.event_type, one.actor) for one in reversed(events) if one.event_type.startswith("provider.")]


def test_after_some_failures_runs_wait_for_the_provider_instead_of_failing(tmp_path: Path) -> None:
    async def story() -> None:
        models = Models()
        models.down = {"first"}
        async with opened(tmp_path, models) as platform:
            assert (await run(platform, plan(ASK))).status == "failed"
            second = await platform.start(Submission(plan(ASK), "tea"), hold=True)
            await until(lambda: waits(platform, second.id))
            record = await platform.record(second.id)
            assert (record.status, record.lease_owner) == ("running", None)
            # The door stays open, and nobody asks.
            third = await platform.start(Submission(plan(ASK), "tea"), hold=True)
            other = await run(platform, plan({"id": "ask", "kind": "agent", "ref": "second"}))
            assert other.status == "completed"
            assert (await platform.record(third.id)).seq == 1
            assert models.asked.count("first") == 2
            models.down = set()
            for run_id in (second.id, third.id):
                assert (await ends(platform, run_id)).output_text == "first says yes"
            held = [one.event for one in await platform.events(second.id) if one.event.KIND == "step_failed"]
            assert [event.held for event in held] == [True]  # type: ignore[union-attr]
            assert await standing(platform) is Standing.OPEN
            assert await audited(platform) == [("provider.paused", None), ("provider.resumed", None)]

    asyncio.run(story())


def test_a_pause_holds_for_the_whole_fleet(tmp_path: Path) -> None:
    async def story() -> None:
        models = Models()
        models.down = {"first"}
        async with opened(tmp_path, models) as platform, opened(tmp_path, models) as other:
            other.start_worker()
            await run(platform, plan(ASK))
            second = await platform.start(Submission(plan(ASK), "tea"), hold=True)
            await until(lambda: waits(platform, second.id))
            third = await other.start(Submission(plan(ASK), "tea"))
            models.down = set()
            await until(lambda: _ended(other, third.id))
            await until(lambda: _ended(other, second.id))
            assert models.asked.count("first") == 4

    asyncio.run(story())


async def _ended(platform: Platform, run_id: RunId) -> bool:
    return (await platform.record(run_id)).phase is Phase.ENDED


def test_one_run_tries_a_provider_that_was_paused_and_a_failure_pauses_it_for_longer(tmp_path: Path) -> None:
    async def story() -> None:
        models = Models()
        models.down = {"first"}
        async with opened(tmp_path, models, worker_concurrency=8) as platform:
            await run(platform, plan(ASK))
            runs = [await platform.start(Submission(plan(ASK), "tea")) for _ in range(6)]
            platform.start_worker()
            await until(lambda: _has(platform, pauses=3))
            # Those that had begun when it was paused, and then one alone each time.
            assert models.asked.count("first") <= 1 + 6 + 2
            models.down = set()
            for one in runs:
                await until(lambda one=one: _ended(platform, one.id))  # type: ignore[misc]
                assert (await platform.record(one.id)).status == "completed"

    asyncio.run(story())


async def _has(platform: Platform, *, pauses: int) -> bool:
    return any(one.pauses >= pauses for one in await platform.fleet.providers.all())


def test_a_provider_that_is_held_by_hand_is_not_asked_until_it_is_resumed(tmp_path: Path) -> None:
    async def story() -> None:
        models = Models()
        async with opened(tmp_path, models) as platform:
            await platform.fleet.providers.hold("first", reason="their status page", actor="anna")
            record = await platform.start(Submission(plan(ASK), "tea"), hold=True)
            assert (await platform.run_to_rest(record.id, patience=0.2)).phase is Phase.RUNNABLE
            assert (await standing(platform), models.asked) == (Standing.HELD, [])
            await platform.fleet.providers.resume("first", actor="bert")
            assert (await ends(platform, record.id)).status == "completed"
            assert await audited(platform) == [("provider.held", "anna"), ("provider.resumed", "bert")]

    asyncio.run(story())


def test_waiting_for_a_provider_is_bounded_by_the_deadline_of_the_run(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Models()) as platform:
            platform.start_worker()
            await platform.fleet.providers.hold("first", reason=None, actor=None)
            record = await platform.start(Submission(plan(ASK), "tea", timeout_seconds=0.2))
            await until(lambda: _ended(platform, record.id))
            assert (await platform.record(record.id)).status == "timed_out"

    asyncio.run(story())


def test_a_step_in_mid_leg_waits_when_its_provider_is_held_and_burns_no_attempt(tmp_path: Path) -> None:
    async def story() -> None:
        models = Models()
        async with opened(tmp_path, models) as platform:
            flow = plan({"id": "other", "kind": "agent", "ref": "second"}, ASK)
            record = await platform.start(Submission(flow, "tea"))
            (claim,) = await platform._workers.claim_one(record.id)
            await platform.fleet.providers.hold("first", reason=None, actor=None)
            platform._workers.execute(claim)
            await until(lambda: waits(platform, record.id))
            assert models.asked == ["second"]
            await platform.fleet.providers.resume("first", actor=None)
            assert (await ends(platform, record.id)).output_text == "first says yes"

    asyncio.run(story())


def test_a_stand_in_serves_at_once_where_the_provider_is_paused(tmp_path: Path) -> None:
    async def story() -> None:
        models = Models()
        async with opened(tmp_path, models) as platform:
            await platform.fleet.providers.hold("first", reason=None, actor=None)
            flow = plan(
                {**ASK, "on_error": "fallback", "fallback_ref": "stand_in"},
                {"id": "stand_in", "kind": "agent", "ref": "second"},
            )
            assert (await run(platform, flow)).status == "completed"
            assert models.asked == ["second", "second"]

    asyncio.run(story())


def test_a_refusal_is_no_outage(tmp_path: Path) -> None:
    async def story() -> None:
        models = Models()
        models.down, models.refuses = {"first"}, True
        async with opened(tmp_path, models) as platform:
            for _ in range(4):
                assert (await run(platform, plan(ASK))).status == "failed"
            assert await platform.fleet.providers.all() == []

    asyncio.run(story())


def test_without_a_number_of_failures_no_provider_is_ever_paused(tmp_path: Path) -> None:
    async def story() -> None:
        models = Models()
        models.down = {"first"}
        async with opened(tmp_path, models, breaker=BreakerOptions(failures=0)) as platform:
            for _ in range(4):
                assert (await run(platform, plan(ASK))).status == "failed"

    asyncio.run(story())


def test_an_allowance_is_used_up_by_the_whole_fleet_and_then_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        models = Models()
        async with opened(tmp_path, models) as platform, opened(tmp_path, models) as other:
            await platform.fleet.set_limits(
                limits_from({"providers": {"first": {"requests_per_minute": 30}}}), actor="anna"
            )
            # A tenth of a minute's allowance may be used at once, and one more begins the next part.
            for number in range(4):
                await (platform, other)[number % 2].fleet.providers.enter("first")
            with pytest.raises(ProviderPausedError) as caught:
                await platform.fleet.providers.enter("first")
            assert 0 < caught.value.until - await platform.store.now() <= 2
            await platform.fleet.providers.enter("second")
            # A run that needs it does not begin.
            record = await other.start(Submission(plan(ASK), "tea"), hold=True)
            assert (await other.record(record.id)).lease_owner is None
            assert (await ends(other, record.id)).status == "completed"

    asyncio.run(story())


STATE = ProviderState("p")
OPTIONS = BreakerOptions(failures=2, window_seconds=10, pause_seconds=5, longest_pause_seconds=12)


def test_failures_count_within_the_window_only() -> None:
    state = after_failure(STATE, 0, OPTIONS, "HTTP 503")
    state = after_failure(state, 11, OPTIONS, "HTTP 503")
    assert (state.failures, state.standing(11)) == (1, Standing.OPEN)
    assert after_failure(state, 12, OPTIONS, "HTTP 503").standing(12) is Standing.PAUSED


def test_an_answer_in_between_begins_the_count_anew() -> None:
    state = after_answer(after_failure(STATE, 0, OPTIONS, "HTTP 503"), 1)
    assert after_failure(state, 2, OPTIONS, "HTTP 503").standing(2) is Standing.OPEN


def test_pauses_grow_up_to_a_bound_and_end_with_an_answer() -> None:
    state, now, lengths = STATE, 0.0, []
    state = after_failure(state, now, OPTIONS, "HTTP 503")
    for _ in range(4):
        state = after_failure(state, now, OPTIONS, "HTTP 503")
        assert state.paused_until is not None
        lengths.append(state.paused_until - now)
        now = state.paused_until
        assert state.standing(now) is Standing.PROBING
    assert lengths == [5, 10, 12, 12]
    assert after_answer(state, now) == ProviderState("p", changed_at=now)


def test_what_was_asked_before_a_pause_changes_nothing_about_it() -> None:
    paused = after_failure(after_failure(STATE, 0, OPTIONS, "one"), 1, OPTIONS, "two")
    assert after_failure(paused, 2, OPTIONS, "three") == paused
    assert after_answer(paused, 2) == paused

"""Following a run: every event once and in order, and between them what models say while they say it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, NotFoundError, PlatformClosedError
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId
from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.plan import ROOT, AgentPlan, Plan
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.platform.speech import holds_back
from kneo_serv.platform.streams import StreamItem, TextDelta
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.service.factory import create_local_platform_manager
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.tools import ToolRegistry
from tests.platform import worlds
from tests.platform.speakers import compiled, spec, with_tools
from tests.platform.worlds import PATIENCE, answer, options, person, step

type Line = str | Exception | Callable[[], Awaitable[object]]


async def moment() -> None:
    """Lets what was said be told."""
    for _ in range(3):
        await asyncio.sleep(0)


@dataclass
class Stage:
    """By agent's name the pieces that it says in turn; an error is raised, something to wait for is waited for."""

    lines: dict[str, Sequence[Line]]
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    """A follower has taken a piece."""
    heard: list[bool] = field(default_factory=list)
    """Of each turn, whether somebody listened."""

    def create(self, agent: AgentPlan) -> "Talker":
        return Talker(self, agent.name)

    async def pause(self) -> None:
        """Lasts until somebody has taken what was said."""
        async with asyncio.timeout(PATIENCE):
            await self.taken.wait()
        self.taken.clear()


async def pause() -> None:
    """Stands for `Stage.pause` where somebody listens."""


@dataclass
class Talker:
    stage: Stage
    name: str

    async def turn(self, request: TurnRequest) -> Turn:
        self.stage.heard.append(request.on_text is not None)
        text = ""
        for line in self.stage.lines[self.name]:
            if isinstance(line, Exception):
                raise line
            if not isinstance(line, str):
                await (self.stage.pause() if line is pause and request.on_text is not None else line())
                continue
            text = text + line if line else ""
            if request.on_text is not None:
                request.on_text(line)
        return Turn(text)

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def opened(path: Path, stage: Stage, **more: Any) -> AsyncIterator[Platform]:
    platform = Platform(
        store=SQLiteStore(path / "runs.sqlite"),
        tools=ToolRegistry(),
        runtimes=stage,
        options=options(text_batch_seconds=0.0, **more),
    )
    await platform.open()
    try:
        yield platform
    finally:
        await platform.close(timeout=5)


async def followed(platform: Platform, run_id: RunId, *, stage: Stage | None = None, **how: Any) -> list[StreamItem]:
    items = []
    async with asyncio.timeout(PATIENCE):
        async for item in platform.stream(run_id, **how):
            items.append(item)
            if stage is not None and isinstance(item, TextDelta):
                stage.taken.set()
    return items


async def played(platform: Platform, plan: Plan, **how: Any) -> list[StreamItem]:
    """The whole stream of a new run, followed from its beginning."""
    record = await platform.start(Submission(plan, "tea"), hold=True)
    items = await followed(platform, record.id, **how)
    assert events(items) == await platform.events(record.id)
    return items


def stream_of(path: Path, lines: Sequence[Line], plan: Plan, **how: Any) -> list[StreamItem]:
    """The same on a platform of its own, where the agent `a` says this."""

    async def story() -> list[StreamItem]:
        stage = Stage({"a": lines})
        async with opened(path, stage) as platform:
            return await played(platform, plan, stage=stage, **how)

    return asyncio.run(story())


def events(items: Sequence[StreamItem]) -> list[ev.Recorded]:
    return [item for item in items if isinstance(item, ev.Recorded)]


def kinds(items: Sequence[StreamItem]) -> list[str]:
    """The kinds of events, with `text` wherever something was said in between."""
    names = [item.event.KIND if isinstance(item, ev.Recorded) else "text" for item in items]
    return [name for at, name in enumerate(names) if name != "text" or names[at - 1] != "text"]


def said(items: Sequence[StreamItem], name: str | None = None) -> list[tuple[str, bool]]:
    deltas = [item for item in items if isinstance(item, TextDelta)]
    return [(delta.text, delta.void) for delta in deltas if name in (None, delta.step_id)]


def shown(items: Sequence[StreamItem], name: str | None = None) -> str:
    """What stands on a screen that follows the rules."""
    screen = ""
    for text, void in said(items, name):
        screen = text if void else screen + text
    return screen


def one(**agent: Any) -> Plan:
    return compiled(None, step("a", "agent"), a=agent)


def no_gin(stage: str, action: str) -> dict[str, Any]:
    guard = {"id": "no-gin", "type": "keyword", "action": action, "config": {"keywords": ["gin"]}}
    return {"guardrails": {stage: [guard]}}


WORDS = ("Tea ", moment, "is a ", moment, "drink.")
STORY = ("Tea ", pause, "is a ", pause, "drink.")


def test_the_stream_of_a_run_that_has_ended_is_its_history(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Stage({"a": STORY})) as platform:
            record = await worlds.run(platform, one())
            items = await followed(platform, record.id)
            assert items == await platform.events(record.id)
            assert events(items)[-1].event.KIND == "run_completed"
            for after in range(len(items) + 3):
                assert await followed(platform, record.id, after=after) == items[after:]

    asyncio.run(story())


def test_text_comes_while_it_is_said_and_before_what_supersedes_it(tmp_path: Path) -> None:
    items = stream_of(tmp_path, STORY, one())
    assert kinds(items) == [
        "run_created", "leg_started", "step_started", "model_turn_started", "text", "model_turn_completed",
        "step_completed", "run_completed",
    ]  # fmt: skip
    assert said(items) == [("Tea ", False), ("is a ", False), ("drink.", False)]
    assert [recorded.seq for recorded in events(items)] == list(range(1, 8))
    (delta, *_) = [item for item in items if isinstance(item, TextDelta)]
    assert (delta.step_id, delta.turn, delta.after) == ("a", 1, 4)


def test_pieces_of_one_moment_are_told_together(tmp_path: Path) -> None:
    items = stream_of(tmp_path, [*("x " for _ in range(500)), pause, "end"], one())
    assert said(items) == [("x " * 500, False), ("end", False)]


def test_a_secret_that_spans_two_pieces_is_never_told(tmp_path: Path) -> None:
    pieces: list[Line] = ["the key is sk-", pause, "abcdef", moment, "123456", moment, " and more"]
    items = stream_of(tmp_path, pieces, one())
    assert said(items)[0] == ("the key is ", False)
    assert shown(items) == "the key is [REDACTED] and more"
    assert not any("abc" in text for text, _ in said(items))


def test_an_answer_that_begins_again_makes_void_what_came_before(tmp_path: Path) -> None:
    items = stream_of(tmp_path, ["Coffee ", pause, "", "Tea ", pause, "please."], one())
    assert said(items) == [("Coffee ", False), ("Tea ", True), ("please.", False)]


def test_what_was_said_in_an_attempt_that_failed_is_void(tmp_path: Path) -> None:
    items = stream_of(tmp_path, ["Tea ", pause, RuntimeError("no more")], one())
    assert said(items) == [("Tea ", False), ("", True)]
    assert kinds(items)[-3:] == ["text", "step_failed", "run_failed"]


@pytest.mark.parametrize(
    ("action", "stage", "told"),
    [
        ("block", "output", False),
        ("redact", "output", False),
        ("human_review", "output", False),
        ("retry", "output", False),
        ("warn", "output", True),
        ("block", "input", True),
    ],
)
def test_what_a_guardrail_may_hold_back_is_not_told_before(tmp_path: Path, action: str, stage: str, told: bool) -> None:
    items = stream_of(tmp_path, ["tea ", moment, "or gin"], one(**no_gin(stage, action)), until="rest")
    assert bool(said(items)) is told


def test_a_guardrail_of_the_workflow_holds_back_every_agent(tmp_path: Path) -> None:
    plan = compiled(no_gin("workflow", "block"), step("a", "agent"), a={})
    assert said(stream_of(tmp_path, ["tea ", moment, "only"], plan)) == []


def test_a_model_is_asked_to_speak_only_when_somebody_listens(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Stage({"a": ["tea"]})
        async with opened(tmp_path, stage) as platform:
            await worlds.run(platform, one())
            await played(platform, one(), deltas=False)
            await played(platform, one())
            await worlds.run(platform, one())
            assert stage.heard == [False, False, True, False]

    asyncio.run(story())


def test_who_comes_later_hears_the_turn_from_its_beginning(tmp_path: Path) -> None:
    async def story() -> None:
        heard = asyncio.Event()
        async with opened(tmp_path, Stage({"a": ["Tea ", heard.wait, "is a drink."]})) as platform:
            record = await platform.start(Submission(one(), "tea"), hold=True)
            stream = platform.stream(record.id)
            async for item in stream:
                if isinstance(item, TextDelta):
                    break
            late: list[StreamItem] = []
            async for item in platform.stream(record.id):
                late.append(item)
                if isinstance(item, TextDelta):
                    heard.set()
            assert said(late)[0] == ("Tea ", False)
            assert shown(late) == "Tea is a drink."
            early = [item async for item in stream]
            assert shown(early) == "is a drink."
            assert events(early)[-1] == events(late)[-1]

    asyncio.run(story())


def test_branches_speak_at_once_each_under_its_own_name(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Stage({"a": ["Tea ", moment, "is green."], "b": ["Coffee ", moment, "is black."]})
        flow = spec(None, a={}, b={})
        flow["workflow"] = {
            "type": "concurrent",
            "name": "both",
            "participants": [step("a", "agent"), step("b", "agent")],
        }
        plan = SpecCompiler(runtime_registry=RuntimeRegistry(), tool_registry=ToolRegistry()).compile_dict(flow).plan
        async with opened(tmp_path, stage) as platform:
            items = await played(platform, plan)
            assert (shown(items, "a"), shown(items, "b")) == ("Tea is green.", "Coffee is black.")

    asyncio.run(story())


def test_a_run_of_another_process_is_followed_event_by_event(tmp_path: Path) -> None:
    async def story() -> None:
        seen = asyncio.Event()
        stage = Stage({"a": ["tea", seen.wait, "."]})
        async with opened(tmp_path, stage) as here, opened(tmp_path, Stage({})) as there:
            record = await here.start(Submission(one(), "tea"), hold=True)
            items: list[StreamItem] = []
            async with asyncio.timeout(PATIENCE):
                async for item in there.stream(record.id):
                    items.append(item)
                    if kinds(items)[-1] == "model_turn_started":
                        seen.set()
            assert kinds(items)[-1] == "run_completed"
            assert items == await there.events(record.id)

    asyncio.run(story())


def test_a_slow_follower_stalls_nothing_and_loses_text_before_it_loses_an_event(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Stage({"a": ["Tea ", pause, *(part for _ in range(4) for part in ("x" * 99_000 + " ", moment)), "end"]})
        async with opened(tmp_path, stage) as platform:
            record = await platform.start(Submission(one(), "tea"), hold=True)
            items: list[StreamItem] = []
            async with asyncio.timeout(PATIENCE):
                async for item in platform.stream(record.id):
                    items.append(item)
                    if said(items) and not stage.taken.is_set():
                        stage.taken.set()
                        done = await platform.run_to_rest(record.id, patience=PATIENCE)
                        assert done.status == "completed"
            assert events(items) == await platform.events(record.id)
            assert said(items)[:2] == [("Tea ", False), ("", True)]
            assert shown(items) == ""

    asyncio.run(story())


def test_a_run_that_waits_for_a_person_is_followed_to_its_rest_or_beyond(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Stage({"a": STORY})
        async with opened(tmp_path, stage) as platform:
            plan = compiled(None, step("a", "agent"), {"id": "ask", "kind": "human", "ref": "person"}, a={})
            rested = await played(platform, plan, stage=stage, until="rest")
            assert kinds(rested)[-1] == "human_asked"
            run_id = RunId((await platform.store.list_tasks())[0].run_id)
            whole = asyncio.create_task(followed(platform, run_id))
            rest = asyncio.create_task(followed(platform, run_id, after=len(events(rested))))
            await answer(platform, run_id)
            assert kinds(await rest) == ["human_answered", "leg_started", "step_completed", "run_completed"]
            assert events(await whole) == await platform.events(run_id)

    asyncio.run(story())


def test_a_failed_run_that_was_continued_is_followed_to_its_second_end(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Stage({"a": [RuntimeError("not yet")]})) as platform:
            record = await worlds.run(platform, one())
        async with opened(tmp_path, Stage({"a": STORY})) as platform:
            await platform.continue_run(record.id)
            await platform.run_to_rest(record.id, patience=PATIENCE)
            names = [recorded.event.KIND for recorded in events(await followed(platform, record.id))]
            assert "run_failed" in names
            assert names[-1] == "run_completed"

    asyncio.run(story())


def test_a_cancelled_run_ends_its_streams_behind_what_came_too_late(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Stage({"a": ["Tea ", asyncio.Event().wait]})) as platform:
            record = await platform.start(Submission(one(), "tea"), hold=True)
            items: list[StreamItem] = []
            async with asyncio.timeout(PATIENCE):
                async for item in platform.stream(record.id):
                    items.append(item)
                    if isinstance(item, TextDelta) and item.text:
                        await platform.cancel(record.id)
            assert shown(items) == ""
            assert events(items) == await platform.events(record.id)
            assert "run_cancelled" in kinds(items)

    asyncio.run(story())


def test_a_stream_that_cannot_be_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Stage({"a": STORY})) as platform:
            record = await worlds.run(platform, one())
            with pytest.raises(NotFoundError):
                await followed(platform, RunId("run_unknown"))
            with pytest.raises(InvalidRequestError, match="after"):
                await followed(platform, record.id, after=-1)
            with pytest.raises(InvalidRequestError, match="'end' or 'rest'"):
                await followed(platform, record.id, until="dawn")

    asyncio.run(story())


def test_the_end_of_the_platform_ends_streams_with_an_error_that_says_how_far_they_came(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Stage({})) as platform:
            record = await worlds.run(platform, worlds.plan(person()))
            stream = platform.stream(record.id)
            for _ in range(record.seq):
                await anext(stream)
            following = asyncio.ensure_future(anext(stream))
            await moment()
        with pytest.raises(PlatformClosedError, match=f"up to event {record.seq}"):
            await following

    asyncio.run(story())


def test_somebody_who_fails_while_listening_does_not_hurt_the_run(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Stage({"a": STORY})
        async with opened(tmp_path, stage) as platform:
            record = await platform.start(Submission(one(), "tea"), hold=True)
            told: list[TextDelta] = []

            def fail(delta: TextDelta) -> None:
                told.append(delta)
                raise ValueError(delta.text)

            platform.hear(record.id, fail)
            items = await followed(platform, record.id, stage=stage)
            assert kinds(items)[-1] == "run_completed"
            assert shown(items) == "Tea is a drink."
            assert len(told) == 1

    asyncio.run(story())


def managed(path: Path, stage: Stage) -> PlatformManager:
    runtimes = RuntimeRegistry()
    runtimes.register("bridge", lambda *, model, preferences: stage.create(AgentPlan("a")))
    return PlatformManager(
        compiler=SpecCompiler(runtime_registry=runtimes, tool_registry=ToolRegistry()),
        run_state_store=SQLiteStore(path / "runs.sqlite"),
        options=options(text_batch_seconds=0.0),
    )


def test_a_script_follows_a_run_without_a_loop_of_its_own(tmp_path: Path) -> None:
    manager = managed(tmp_path, Stage({"a": WORDS}))
    try:
        manager.start_worker()
        record = manager.start_run_from_spec(spec=spec(None, step("a", "agent"), a={}), input_text="tea")
        items = list(manager.stream(record.id))
        assert kinds(items)[-1] == "run_completed"
        assert list(manager.stream(record.id, after=3, deltas=False)) == events(items)[3:]
        for _ in manager.stream(record.id):
            break
        with pytest.raises(NotFoundError):
            manager.stream("run_unknown")
        with pytest.raises(InvalidRequestError):
            manager.stream(record.id, after=-1)
    finally:
        manager.shutdown()


def test_callbacks_hear_the_last_word_of_a_turn_before_they_hear_of_its_end(tmp_path: Path) -> None:
    manager = managed(tmp_path, Stage({"a": WORDS}))
    told: list[StreamItem] = []
    try:
        result = manager.run_from_spec(
            spec=spec(None, step("a", "agent"), a={}), input_text="tea", on_event=told.append, on_text=told.append
        )
        assert result.output_text == "Tea is a drink."
        assert kinds(told)[-5:] == [
            "model_turn_started", "text", "model_turn_completed", "step_completed", "run_completed",
        ]  # fmt: skip
        assert shown(told) == "Tea is a drink."
        told.clear()
        manager.fork_run(result.run_id, at_sequence=1, on_text=told.append)
        assert shown(told) == "Tea is a drink."
    finally:
        manager.shutdown()


def test_the_dummy_is_heard_word_by_word_without_a_key(tmp_path: Path) -> None:
    manager = create_local_platform_manager(state_path=tmp_path / "runs.sqlite")
    told: list[StreamItem] = []
    try:
        result = manager.run_from_spec(spec=spec(), input_text="tea", target="agent", on_text=told.append)
        assert (shown(told), result.output_text) == ("Final answer: tea", "Final answer: tea")
    finally:
        manager.shutdown()


def test_an_agent_behind_a_tool_is_heard_unless_its_result_is_guarded() -> None:
    def plan(**root: Any) -> Plan:
        ask = {"ask": {"description": "Knows.", "agent": "helper"}}
        return compiled(with_tools("ask", **root), tools=ask, helper={}, other={})

    open_plan, guarded = plan(), plan(**no_gin("tool", "redact"))
    helper = next(key for key, agent in open_plan.agents.items() if agent.name == "helper")
    other = next(key for key, agent in open_plan.agents.items() if agent.name == "other")
    assert [holds_back(open_plan, name) for name in (ROOT, helper, other)] == [False, False, False]
    assert [holds_back(guarded, name) for name in (ROOT, helper, other)] == [False, True, False]

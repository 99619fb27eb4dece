"""Middleware on the platform: around what it stands, in which order, and what follows from what it does."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, ToolPolicyViolation
from kneo_serv.middleware import (
    InputGuardrailMiddleware,
    KeywordGuardrail,
    NextCall,
    NextRun,
    OutputGuardrailMiddleware,
    RunContext,
    ToolCallContext,
)
from kneo_serv.model.message import Role, ToolCall, Turn, TurnRequest, Usage
from kneo_serv.model.plan import AgentPlan
from kneo_serv.model.run import RunResult
from kneo_serv.model.task import HumanResponse
from kneo_serv.model.tool import Effect, ToolDefinition, ToolResult
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.wrapping import Wrapping
from kneo_serv.runtime import AdapterRuntime, RuntimeRegistry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.tools import ToolRegistry, current_call
from tests.platform.worlds import options

SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}


class World:
    """One agent with the tool `search`, that calls it once and then says what it gave."""

    def __init__(self, path: Path, *, effect: Effect | None = None, handler: Callable[..., str] | None = None) -> None:
        self.path = path
        self.asked: list[TurnRequest] = []
        self.called: list[dict[str, Any]] = []
        self.tools = ToolRegistry()
        self.tools.register(ToolDefinition("search", "Search.", SCHEMA, effect=effect), handler or self._search)
        self.runtimes = RuntimeRegistry()
        self.runtimes.register("bridge", lambda *, model, preferences: AdapterRuntime(run_fn=self._model))

    def _search(self, args: dict[str, Any]) -> str:
        self.called.append(args)
        return f"all about {args['query']}"

    async def _model(self, messages: Any, config: Mapping[str, Any]) -> Turn:
        self.asked.append(TurnRequest(config["agent_name"], messages, config["tools"]))
        answers = [message.content for message in messages if message.role is Role.TOOL]
        if answers or not config["tools"]:
            return Turn(" and ".join(answers) or messages[-1].content, usage=Usage(10, 5, 1))
        return Turn(tool_calls=(ToolCall("c1", "search", {"query": "tea"}),), usage=Usage(10, 5, 1))

    @contextmanager
    def manager(self, **more: Any) -> Any:
        compiler = SpecCompiler(runtime_registry=self.runtimes, tool_registry=self.tools)
        store = SQLiteStore(self.path / "runs.sqlite")
        manager = PlatformManager(compiler=compiler, run_state_store=store, options=options(), **more)
        try:
            yield manager
        finally:
            manager.shutdown(timeout=5)

    def run(self, *, agent: Mapping[str, Any] | None = None, **more: Any) -> tuple[RunResult, list[dict[str, Any]]]:
        with self.manager(**more) as manager:
            block = {"name": "helper", "strategy": "react", "tools": ["search"], **(agent or {})}
            result = manager.run_from_spec(input_text="tell me", spec={"version": "v1", "agent": block}, target="agent")
            return result, manager.get_trace(result.run_id)


class Marking:
    def __init__(self, letter: str, marks: list[str]) -> None:
        self.letter = letter
        self.marks = marks
        self.contexts: list[Any] = []

    async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
        self.contexts.append(ctx)
        self.marks.append(f"{self.letter}:turn")
        return await next_run(ctx)

    async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
        self.contexts.append(ctx)
        self.marks.append(f"{self.letter}:{ctx.tool_name}")
        return await next_call(ctx)


def kinds(trace: list[dict[str, Any]]) -> list[str]:
    return [str(event["type"]) for event in trace]


def error_text(trace: list[dict[str, Any]], kind: str) -> str:
    return next(str(event) for event in trace if event["type"] == kind)


def test_the_platforms_middlewares_stand_outside_those_that_an_agent_lists(tmp_path: Path) -> None:
    marks: list[str] = []
    a, b, c, other = (Marking(letter, marks) for letter in ("a", "b", "c", "other"))
    result, _ = World(tmp_path).run(
        agent={"middleware": ["b", "c"]}, run_middlewares=[a], tool_middlewares=[a],
        middlewares={"c": c, "b": b, "other": other},
    )  # fmt: skip
    assert result.output_text == "all about tea"
    turn, call = ["a:turn", "b:turn", "c:turn"], ["a:search", "b:search", "c:search"]
    assert marks == [*turn, *call, *turn]


def test_a_turn_and_a_call_say_whose_they_are(tmp_path: Path) -> None:
    mark = Marking("a", [])
    result, _ = World(tmp_path).run(run_middlewares=[mark], tool_middlewares=[mark])
    first, call, second = mark.contexts
    assert first.config.agent == "helper"
    assert [tool.name for tool in first.config.tools] == ["search"]
    assert [message.content for message in first.messages] == ["tell me"]
    assert first.metadata["run_id"] == call.metadata["run_id"] == result.run_id
    assert (first.metadata["turn"], second.metadata["turn"]) == (1, 2)
    assert first.metadata["attempt"] == 1
    assert (call.tool_name, call.args, call.metadata["agent"]) == ("search", {"query": "tea"}, "helper")
    assert call.metadata["tool_call_id"] == "c1"
    assert call.metadata["idempotency_key"]
    assert len(second.messages) == 3


def test_what_a_middleware_changes_is_what_the_model_and_the_tool_get(tmp_path: Path) -> None:
    class Changing:
        async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
            question = replace(ctx.messages[0], content="changed")
            turn = await next_run(replace(ctx, messages=(question, *ctx.messages[1:])))
            return replace(turn, text=turn.text.upper())

        async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
            result = await next_call(replace(ctx, args={"query": "coffee"}))
            return replace(result, output=f"<{result.output}>")

    world = World(tmp_path)
    result, _ = world.run(run_middlewares=[Changing()], tool_middlewares=[Changing()])
    assert world.asked[0].messages[0].content == "changed"
    assert world.called == [{"query": "coffee"}]
    assert result.output_text == "<ALL ABOUT COFFEE>"


def test_the_guard_stands_before_the_middlewares_and_looks_at_what_they_changed(tmp_path: Path) -> None:
    class Smuggling:
        async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
            return await next_call(replace(ctx, args={"query": "https://evil.example/x"}))

    world, marks = World(tmp_path / "a"), [""]
    permissions = {"include": ["search"], "permissions": {"denied_domains": ["evil.example"]}}
    _, trace = world.run(agent={"tools": permissions}, tool_middlewares=[Smuggling()])
    assert "tool_policy_denied" in kinds(trace)
    assert world.called == []

    marks = []
    denied = {"policies": {"tool": {"deny": ["search"]}}}
    _, trace = World(tmp_path / "b").run(agent=denied, tool_middlewares=[Marking("a", marks)])
    assert "tool_policy_denied" in kinds(trace)
    assert marks == []


def test_a_middleware_may_not_turn_one_tool_into_another(tmp_path: Path) -> None:
    class Turning:
        async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
            return await next_call(replace(ctx, tool_name="delete"))

    result, trace = World(tmp_path).run(tool_middlewares=[Turning()])
    assert "may change the arguments of tool 'search', not the tool" in error_text(trace, "tool_call_failed")
    assert result.status == "completed"


def test_an_error_of_a_tool_middleware_is_told_to_the_model_and_a_denial_ends_the_run(tmp_path: Path) -> None:
    class Limiting:
        async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
            raise RuntimeError("too many calls")

    class Denying:
        async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
            raise ToolPolicyViolation("not today", tool_name=ctx.tool_name)

    world = World(tmp_path / "a")
    result, trace = world.run(tool_middlewares=[Limiting()])
    assert (result.status, world.called) == ("completed", [])
    assert "too many calls" in str(result.output_text)
    assert "tool_call_failed" in kinds(trace)

    world = World(tmp_path / "b")
    result, trace = world.run(tool_middlewares=[Denying()])
    assert (result.status, world.called) == ("failed", [])
    assert "tool_policy_denied" in kinds(trace)


@pytest.mark.parametrize("fault", [RuntimeError("broken"), ToolPolicyViolation("broken", tool_name="search")])
def test_a_call_that_happened_is_told_as_one_when_a_middleware_fails_with_its_answer(
    tmp_path: Path, fault: Exception
) -> None:
    class Failing:
        async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
            await next_call(ctx)
            raise fault

    world = World(tmp_path)
    result, trace = world.run(tool_middlewares=[Failing()])
    assert len(world.called) == 1
    assert "Tool 'search' was called" in str(result.output_text)
    assert "tool_policy_denied" not in kinds(trace)


def test_an_error_of_the_tool_itself_passes_through_the_middlewares(tmp_path: Path) -> None:
    def broken(args: dict[str, Any]) -> str:
        raise LookupError("no such tea")

    _, trace = World(tmp_path, handler=broken).run(tool_middlewares=[Marking("a", [])])
    assert "LookupError" in error_text(trace, "tool_call_failed")


@pytest.mark.parametrize(("effect", "times"), [(Effect.ONCE, 1), (Effect.IDEMPOTENT, 2)])
def test_a_middleware_repeats_no_call_that_must_happen_once(tmp_path: Path, effect: Effect, times: int) -> None:
    class Repeating:
        async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
            await next_call(ctx)
            return await next_call(ctx)

    world = World(tmp_path, effect=effect)
    result, _ = world.run(tool_middlewares=[Repeating()])
    assert len(world.called) == times
    assert ("has the effect `once`" in str(result.output_text)) is (effect is Effect.ONCE)


def test_a_middleware_knows_the_current_call(tmp_path: Path) -> None:
    seen: list[str] = []

    class Reading:
        async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
            seen.append(current_call().idempotency_key)
            return await next_call(ctx)

    result, _ = World(tmp_path).run(tool_middlewares=[Reading()])
    assert seen
    assert seen[0].startswith(result.run_id)


def test_a_refusal_by_a_guardrail_middleware_is_not_absorbed(tmp_path: Path) -> None:
    spec = {
        "version": "v1",
        "agent": {"name": "helper"},
        "workflow": {
            "type": "sequential",
            "name": "w",
            "steps": [{"id": "s", "kind": "agent", "ref": "helper", "on_error": "continue"}],
        },
    }
    guard = InputGuardrailMiddleware(KeywordGuardrail(keywords=["tea"]))
    world = World(tmp_path)
    with world.manager(run_middlewares=[guard]) as manager:
        result = manager.run_from_spec(input_text="tea please", spec=spec)
        assert result.status == "failed"
        record = manager.get_run(result.run_id)
    assert record.error_type == "GuardrailViolation"
    assert world.asked == []


def test_an_agent_that_is_asked_about_a_text_goes_through_the_middlewares_too(tmp_path: Path) -> None:
    mark = Marking("a", [])
    spec = {
        "version": "v1",
        "agent": {"name": "helper", "guardrails": {"input": [{"id": "g", "type": "agent", "ref": "judge"}]}},
        "components": {"agents": {"judge": {"name": "judge"}}},
    }
    with World(tmp_path).manager(run_middlewares=[mark]) as manager:
        manager.run_from_spec(input_text="PASS", spec=spec, target="agent")
    assert [context.config.agent for context in mark.contexts] == ["judge", "helper"]
    assert "run_id" not in mark.contexts[0].metadata


def test_every_answer_of_the_model_counts_also_one_that_a_middleware_drops(tmp_path: Path) -> None:
    class Twice:
        async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
            await next_run(ctx)
            return await next_run(ctx)

    class Cached:
        async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
            return Turn("cached")

    for folder, middleware, tokens in (("a", Twice(), 40), ("b", Cached(), 0)):
        world = World(tmp_path / folder)
        with world.manager(run_middlewares=[middleware]) as manager:
            block = {"name": "helper", "strategy": "react", "tools": ["search"]}
            result = manager.run_from_spec(input_text="x", spec={"version": "v1", "agent": block}, target="agent")
            assert manager.get_run(result.run_id).input_tokens == tokens


def test_an_agent_that_lists_a_middleware_which_is_not_here_is_not_run_without_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    result, trace = world.run(agent={"middleware": ["audit"]}, middlewares={"limits": Marking("a", [])})
    assert (result.status, world.asked) == ("failed", [])
    assert "lists the middleware 'audit', which is not here (available: limits)" in str(trace)


def test_the_compiler_of_a_manager_knows_the_names(tmp_path: Path) -> None:
    with World(tmp_path).manager(middlewares={"limits": Marking("a", [])}) as manager:
        report = manager.validate_spec({"version": "v1", "agent": {"name": "a", "middleware": ["limit"]}})
    assert [item.code for item in report.diagnostics] == ["W_MIDDLEWARE_UNAVAILABLE"]


@pytest.mark.parametrize("argument", ["run_middlewares", "tool_middlewares"])
def test_what_is_no_middleware_is_refused_when_the_manager_is_made(tmp_path: Path, argument: str) -> None:
    manager: AbstractContextManager[Any] = World(tmp_path).manager(**{argument: [object()]})
    with pytest.raises(InvalidRequestError, match="object is no middleware"):
        manager.__enter__()
    with pytest.raises(InvalidRequestError, match="object is no middleware"):
        World(tmp_path).manager(middlewares={"x": object()}).__enter__()


def test_what_a_person_agreed_to_is_not_changed_by_a_middleware(tmp_path: Path) -> None:
    class Changing:
        async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
            return await next_call(replace(ctx, args={"query": "coffee"}))

    world = World(tmp_path)
    policy = {"tool": {"approval": {"search": "always"}}}
    block = {"name": "helper", "strategy": "react", "tools": ["search"], "policies": policy}
    with world.manager(tool_middlewares=[Changing()]) as manager:
        paused = manager.run_from_spec(input_text="tell me", spec={"version": "v1", "agent": block}, target="agent")
        asked = paused.metadata["pending_human_request"]
        manager.resume_human_task(
            paused.metadata["continuation_id"], response=HumanResponse(asked["request_id"], "approved")
        )
        trace = manager.get_trace(paused.run_id)
    assert world.called == []
    assert "a middleware changed arguments that a person has to agree to" in error_text(trace, "tool_policy_denied")


def heard_of(middleware: Any, *answers: str) -> list[str]:
    """What a listener hears when a model says these answers, one after the other, in pieces of two letters."""
    heard: list[str] = []
    left = list(answers)

    async def ask(request: TurnRequest) -> Turn:
        text = left.pop(0)
        for start in range(0, len(text), 2):
            if request.on_text is not None:
                request.on_text(text[start : start + 2])
        return Turn(text)

    request = TurnRequest("helper", (), on_text=heard.append)
    asyncio.run(Wrapping(run=[middleware]).turn(AgentPlan("helper"), request, ask, {}))
    return heard


def test_a_listener_ends_with_the_text_that_the_middlewares_let_go_on() -> None:
    class Shouting:
        async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
            turn = await next_run(ctx)
            return replace(turn, text=turn.text.upper())

    assert heard_of(Marking("a", []), "tea!") == ["te", "a!"]
    assert heard_of(Shouting(), "tea!") == ["te", "a!", "", "TEA!"]
    assert heard_of(OutputGuardrailMiddleware(KeywordGuardrail(keywords=["milk"])), "tea!") == ["tea!"]


def test_a_listener_is_told_when_the_model_is_asked_again() -> None:
    class Twice:
        async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
            await next_run(ctx)
            return await next_run(ctx)

    assert heard_of(Twice(), "tea", "milk") == ["te", "a", "", "mi", "lk"]


def test_what_was_not_streamed_is_not_told_afterwards() -> None:
    class Silent:
        async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
            return await next_run(replace(ctx, config=replace(ctx.config, on_text=None)))

    assert heard_of(Silent(), "tea") == []

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import (
    NotFoundError,
    StepTimeoutError,
    ToolArgumentValidationError,
    ToolError,
    ToolPolicyViolation,
    ToolUnavailableError,
)
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.model.plan import ToolPlan
from kneo_serv.tools import (
    CallContext,
    Capability,
    GuardedToolRegistry,
    HandlerPool,
    Toolbox,
    ToolDefinition,
    ToolPolicy,
    ToolRegistry,
    current_call,
)

FETCH = ToolDefinition(
    "fetch",
    "Reads a page.",
    {"type": "object", "properties": {"url": {"type": "string"}}},
    capabilities=(Capability.NETWORK,),
)
CONTEXT = CallContext(RunId("run_1"), StepKey("main/a"), "fetch", "key_1", attempt=1, fence=1)


class Recorder:
    """A handler that remembers what reached it."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, args: dict[str, Any]) -> str:
        self.calls.append(args)
        return "page"


def call(box: Toolbox, name: str, arguments: Any, policy: ToolPolicy | None = None, **more: Any) -> str:
    visible = more.pop("visible", ["fetch", "local", "agentic", "remote", "named", "hung"])
    return asyncio.run(
        box.call(name, arguments, policy=policy or ToolPolicy(), visible=visible, context=CONTEXT, **more)
    )


def fetch_box(handler: Any) -> Toolbox:
    registry = ToolRegistry()
    registry.register(FETCH, handler)
    return Toolbox({}, registry, pool=HandlerPool(size=2))


@pytest.mark.parametrize(
    ("policy", "arguments", "said"),
    [
        (ToolPolicy(deny=("fetch",), allow=("fetch",)), {}, "on the deny list"),
        (ToolPolicy(allow=("fetsh",)), {}, "not on the allow list of the tool policy. Did you mean 'fetsh'?"),
        (ToolPolicy(allow=("other",)), {}, "not on the allow list of the tool policy. It may use: other."),
        (ToolPolicy(network=False), {}, "it needs network, which the tool policy switches off"),
        (
            ToolPolicy(denied_domains=("evil.com",), allowed_domains=("evil.com",)),
            {"url": "https://api.evil.com/?token=abc"},
            "the argument at $.url leads to 'api.evil.com', and the tool policy denies the domain 'evil.com'",
        ),
        (
            ToolPolicy(allowed_domains=("good.com",)),
            {"a": [{"b": "//evil.com"}]},
            "the argument at $.a[0].b leads to 'evil.com'; the tool policy allows only these domains: good.com",
        ),
        (ToolPolicy(allowed_domains=("good.com",)), {"https://evil.com": 1}, "the argument at $ leads to 'evil.com'"),
        (ToolPolicy(allowed_domains=("good.com",)), {"url": "https://good.com@evil.com"}, "leads to 'evil.com'"),
        (ToolPolicy(allowed_domains=("*",)), {"url": "file:///etc/passwd"}, "leads to a host that cannot be told"),
        (ToolPolicy(denied_domains=("evil.com",)), {"url": "first https://evil.com"}, "denies the domain"),
    ],
)
def test_a_denied_call_never_reaches_its_handler_and_says_why(policy: ToolPolicy, arguments: Any, said: str) -> None:
    handler = Recorder()
    with pytest.raises(ToolPolicyViolation) as denied:
        call(fetch_box(handler), "fetch", arguments, policy)
    assert said in str(denied.value)
    assert str(denied.value).startswith("Tool 'fetch' was not called: ")
    assert "token" not in str(denied.value)
    assert denied.value.tool_name == "fetch"
    assert handler.calls == []


@pytest.mark.parametrize(
    ("policy", "arguments"),
    [
        (ToolPolicy(allow=("fetch",)), {}),
        (ToolPolicy(network=True, shell=False, filesystem=False), {}),
        (ToolPolicy(allowed_domains=("good.com",)), {"url": "https://API.good.com.:443/x"}),
        (ToolPolicy(allowed_domains=("good.com",)), {"text": "As https://other.com says"}),
        (ToolPolicy(denied_domains=("evil.com",)), {"url": "https://notevil.com"}),
    ],
)
def test_a_call_within_the_policy_is_made(policy: ToolPolicy, arguments: Any) -> None:
    handler = Recorder()
    assert call(fetch_box(handler), "fetch", arguments, policy) == "page"
    assert handler.calls == [arguments]


def test_a_tool_that_the_agent_does_not_see_is_denied_before_anything_else() -> None:
    with pytest.raises(ToolPolicyViolation, match=r"not among the tools of this agent. Did you mean 'fetch'\?"):
        call(fetch_box(Recorder()), "fetsch", {}, visible=["fetch"])


def test_bad_arguments_never_reach_the_handler() -> None:
    handler = Recorder()
    with pytest.raises(ToolArgumentValidationError, match=r"\$.url: expected string, got integer"):
        call(fetch_box(handler), "fetch", {"url": 7})
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(ToolArgumentValidationError, match="nested deeper than 64 levels"):
        call(fetch_box(handler), "fetch", deep)
    assert handler.calls == []


def test_a_handler_cannot_change_the_arguments_of_the_journal() -> None:
    def greedy(args: dict[str, Any]) -> str:
        return str(args["list"].pop())

    arguments = {"list": [1, 2]}
    assert call(fetch_box(greedy), "fetch", arguments) == "2"
    assert arguments == {"list": [1, 2]}


def test_what_a_handler_raises_comes_through_and_a_slow_one_is_named() -> None:
    error = LookupError("no such page")

    def failing(args: dict[str, Any]) -> str:
        raise error

    async def slow(args: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    with pytest.raises(LookupError) as raised:
        call(fetch_box(failing), "fetch", {})
    assert raised.value is error
    with pytest.raises(StepTimeoutError, match=r"Tool 'fetch' took longer than 0\.01 s"):
        call(fetch_box(slow), "fetch", {}, timeout=0.01)


def test_a_replaced_tool_is_checked_by_its_new_schema() -> None:
    registry = ToolRegistry()
    registry.register(FETCH, lambda args: "old")
    box = Toolbox({}, registry, pool=HandlerPool())
    assert call(box, "fetch", {"url": "x"}) == "old"
    registry.register(ToolDefinition("fetch", "New.", {"properties": {"url": {"type": "integer"}}}), lambda args: "new")
    assert call(box, "fetch", {"url": 7}) == "new"


@pytest.fixture
def plan_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toolbox]:
    (tmp_path / "kneo_toolbox_sample.py").write_text(
        "from kneo_serv.tools import current_call\n"
        "def key(args): return current_call().idempotency_key\n"
        "async def later(args): return {'key': current_call().idempotency_key}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = ToolRegistry()
    registry.register(ToolDefinition("fetch", "Of the registry."), lambda args: "registry")
    registry.register(ToolDefinition("named", "Of the registry."), lambda args: current_call().name)
    tools = {
        "fetch": ToolPlan(ToolDefinition("fetch", "Of the plan."), implementation="kneo_toolbox_sample.key"),
        "local": ToolPlan(ToolDefinition("local", "Async."), implementation="kneo_toolbox_sample.later"),
        "named": ToolPlan(ToolDefinition("named", "Of the plan, answered by the registry.")),
        "hung": ToolPlan(ToolDefinition("hung", "Wrong path."), implementation="kneo_toolbox_sample.kye"),
        "agentic": ToolPlan(ToolDefinition("agentic", "An agent."), agent="writer"),
        "remote": ToolPlan(ToolDefinition("remote", "Far."), mcp_server="files"),
    }
    yield Toolbox(tools, registry, pool=HandlerPool())
    sys.modules.pop("kneo_toolbox_sample", None)


def test_tools_of_the_plan_are_imported_at_their_first_call_and_know_it(plan_box: Toolbox) -> None:
    assert "kneo_toolbox_sample" not in sys.modules
    with pytest.raises(ToolPolicyViolation):
        call(plan_box, "fetch", {}, ToolPolicy(deny=("fetch",)))
    assert "kneo_toolbox_sample" not in sys.modules
    assert call(plan_box, "fetch", {}) == "key_1"
    assert call(plan_box, "local", {}) == '{"key": "key_1"}'
    assert call(plan_box, "named", {}) == "fetch"


def test_tools_that_cannot_be_called_say_why(plan_box: Toolbox) -> None:
    with pytest.raises(ToolError, match="'agentic' is backed by agent 'writer'"):
        call(plan_box, "agentic", {})
    with pytest.raises(ToolError, match="'remote' is backed by MCP server 'files'"):
        call(plan_box, "remote", {})
    with pytest.raises(ToolUnavailableError, match="Did you mean 'key'"):
        call(plan_box, "hung", {})
    with pytest.raises(NotFoundError, match="Unknown tool: nope"):
        call(plan_box, "nope", {}, visible=["nope"])


def test_definitions_come_in_the_asked_order_and_the_plan_hides_the_registry(plan_box: Toolbox) -> None:
    asked = asyncio.run(plan_box.described(["local", "fetch"]))
    assert [each.description for each in asked] == ["Async.", "Of the plan."]
    with pytest.raises(KeyError):
        asyncio.run(plan_box.described(["nope"]))


def test_a_guarded_registry_marks_what_it_checked() -> None:
    handler = Recorder()
    registry = ToolRegistry()
    registry.register(FETCH, handler)
    guarded = GuardedToolRegistry(registry, policy=ToolPolicy(denied_domains=("evil.com",)), visible_tools=["fetch"])
    assert list(guarded.definitions) == ["fetch"]
    result = guarded.call("fetch", {"url": "https://good.com"})
    assert (result.output, result.metadata) == ("page", {"tool_policy_checked": True})
    assert asyncio.run(guarded.acall("fetch", {})).metadata["tool_policy_checked"] is True
    with pytest.raises(ToolPolicyViolation):
        guarded.call("fetch", {"url": "https://evil.com"})
    with pytest.raises(ToolArgumentValidationError):
        guarded.call("fetch", {"url": 7})
    assert len(handler.calls) == 2


def test_a_guarded_registry_shows_all_tools_unless_told_otherwise() -> None:
    registry = ToolRegistry()
    registry.register(FETCH, Recorder())
    assert list(GuardedToolRegistry(registry).definitions) == ["fetch"]
    assert GuardedToolRegistry(registry).call("fetch", {}).output == "page"
    nothing = GuardedToolRegistry(registry, visible_tools=[])
    assert nothing.definitions == {}
    with pytest.raises(ToolPolicyViolation):
        nothing.call("fetch", {})

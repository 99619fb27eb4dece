"""MCP tools behind the toolbox: what a model is told of them, and that the guard stands before them."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import ToolArgumentValidationError, ToolPolicyViolation, ToolUnavailableError
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.model.plan import McpServerPlan, ToolPlan
from kneo_serv.tools import (
    CallContext,
    Capability,
    Effect,
    HandlerPool,
    Toolbox,
    ToolDefinition,
    ToolPolicy,
    ToolRegistry,
)
from kneo_serv.tools.mcp import McpServers, McpTools
from tests.tools.mcp.servers import HERE, pool, run, serving, stdio

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
CONTEXT = CallContext(RunId("run_1"), StepKey("main/a"), "t", "run_1:main/a:1", attempt=1, fence=1, trace=TRACE)
NARROW = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 3}}, "required": ["text"]}
NEVER = {"transport": "stdio", "command": "no-such-command-anywhere"}


def tool(name: str, remote: str | None = None, server: str = "probe", **more: Any) -> ToolPlan:
    definition = ToolDefinition(name, more.pop("description", f"{name}, as the spec says."), **more)
    return ToolPlan(definition, mcp_server=server, mcp_name=remote or name)


TOOLS = (
    tool("echo"),
    tool("say", "echo", parameters=NARROW),
    tool("open", "echo", description=""),
    tool("meta"),
    tool("keyed", "meta", effect=Effect.KEYED),
    tool("slow", timeout_seconds=0.3),
    tool("wired", "echo", capabilities=(Capability.NETWORK,)),
    tool("typo", "ecko"),
    tool("away", "echo", server="never"),
    tool("lost", "echo", server="missing"),
)


@pytest.fixture(scope="module")
def probe() -> Iterator[dict[str, Any]]:
    with serving("http") as server:
        yield server


def plan(server: Mapping[str, Any]) -> McpServerPlan:
    return McpServerPlan(server["transport"], {key: value for key, value in server.items() if key != "transport"})


def box(servers: McpServers, server: Mapping[str, Any]) -> Toolbox:
    plans = {"probe": plan(server), "never": plan(NEVER)}
    handlers = HandlerPool(size=2)
    tools = {each.definition.name: each for each in TOOLS}
    return Toolbox(tools, ToolRegistry(), pool=handlers, mcp=McpTools(servers, plans, pool=handlers))


async def call(box: Toolbox, name: str, arguments: dict[str, Any], policy: ToolPolicy | None = None) -> str:
    visible = [each.definition.name for each in TOOLS]
    return await box.call(name, arguments, policy=policy or ToolPolicy(), visible=visible, context=CONTEXT)


def test_a_model_is_told_what_the_spec_says_and_what_the_server_says_where_the_spec_is_silent(
    probe: dict[str, Any],
) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            toolbox = box(servers, probe)
            echo, say, opened = await toolbox.described(["echo", "say", "open"])
            assert echo.description == "echo, as the spec says."
            assert echo.parameters["properties"]["text"]["type"] == "string"
            assert say.parameters == NARROW
            assert opened.description == "Says it back."
            again = await toolbox.described(["echo", "say", "open"])
            assert again == (echo, say, opened)
            assert again[0] is echo

    run(scenario())


def test_arguments_are_checked_by_the_spec_or_else_by_what_the_server_says(probe: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            toolbox = box(servers, probe)
            assert await call(toolbox, "echo", {"text": "long enough"}) == "long enough"
            with pytest.raises(ToolArgumentValidationError, match="'echo' do not fit its schema"):
                await call(toolbox, "echo", {"txt": "x"})
            with pytest.raises(ToolArgumentValidationError, match="'say' do not fit its schema"):
                await call(toolbox, "say", {"text": "too long"})

    run(scenario())


def test_a_refused_call_opens_no_session() -> None:
    async def scenario() -> None:
        async with pool() as servers:
            toolbox = box(servers, NEVER)
            with pytest.raises(ToolPolicyViolation, match="deny list"):
                await call(toolbox, "echo", {"text": ""}, ToolPolicy(deny=("echo",)))
            with pytest.raises(ToolPolicyViolation, match="network"):
                await call(toolbox, "wired", {"text": ""}, ToolPolicy(network=False))
            policy = ToolPolicy(denied_domains=("evil.example",))
            with pytest.raises(ToolPolicyViolation, match=r"evil\.example"):
                await call(toolbox, "echo", {"text": "https://evil.example/"}, policy)

    run(scenario())


def test_a_call_hands_on_the_trace_and_a_keyed_one_its_key(probe: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            toolbox = box(servers, probe)
            plain, keyed = await call(toolbox, "meta", {}), await call(toolbox, "keyed", {})
            assert TRACE["traceparent"] in plain
            assert "idempotency" not in plain
            assert "'kneo-serv/idempotency-key': 'run_1:main/a:1'" in keyed

    run(scenario())


def test_the_time_limit_of_the_tool_holds(probe: dict[str, Any], tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            with pytest.raises(TimeoutError, match=r"'probe': the call of its tool 'slow' took longer than 0\.3 s"):
                await call(box(servers, probe), "slow", {"marker": str(tmp_path / "m")})

    run(scenario())


def test_what_cannot_be_called_names_the_server_and_the_reason(probe: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            toolbox = box(servers, probe)
            for name, reason in (
                ("away", "MCP server 'never' cannot be used: its command 'no-such-command-anywhere' was not found"),
                ("typo", "MCP server 'probe' has no tool 'ecko'"),
                ("lost", "The plan has no MCP server 'missing'"),
            ):
                with pytest.raises(ToolUnavailableError, match=reason):
                    await toolbox.described(["echo", name])
                with pytest.raises(ToolUnavailableError, match=reason):
                    await call(toolbox, name, {"text": ""})
            with pytest.raises(
                ToolUnavailableError, match="MCP server 'probe': An MCP server with transport http needs"
            ):
                await call(box(servers, {"transport": "http"}), "echo", {"text": ""})

    run(scenario())


def test_a_schema_that_only_the_server_understands_is_left_to_the_server() -> None:
    odd = stdio(script=str(HERE / "odd_server.py"), args=("foreign",))
    tools = {"large": tool("large")}

    async def scenario() -> None:
        async with pool() as servers:
            handlers = HandlerPool(size=1)
            mcp = McpTools(servers, {"probe": plan(odd)}, pool=handlers)
            toolbox = Toolbox(tools, ToolRegistry(), pool=handlers, mcp=mcp)
            (shown,) = await toolbox.described(["large"])
            assert shown.parameters["$schema"] == "https://example.com/dialect-of-its-own"
            answer = await toolbox.call("large", {"size": 2}, policy=ToolPolicy(), visible=["large"], context=CONTEXT)
            assert answer == "xx"

    run(scenario())


WITHOUT_LIBRARY = """
import sys
sys.modules["mcp"] = None
import asyncio
from kneo_serv.errors import MissingExtraError
from kneo_serv.spec import SpecCompiler
from kneo_serv.tools import HandlerPool, ToolRegistry
from kneo_serv.tools.mcp import McpServers

server = {"transport": "stdio", "command": "x"}
spec = {
    "version": "v1",
    "agent": {"name": "a", "tools": ["t"]},
    "tools": {"t": {"description": "d", "mcp": {"server": "s"}}},
    "mcp_servers": {"s": server, "unused": server},
}
report = SpecCompiler(runtime_registry=None, tool_registry=None).validate(spec)
print(*[f"{each.code} {each.path} {each.suggestion}" for each in report.diagnostics if "MCP" in each.code])
for ask in (
    lambda: asyncio.run(McpServers(pool=HandlerPool()).call("s", server, "t", {})),
    lambda: ToolRegistry().register_mcp_server(server),
):
    try:
        ask()
    except MissingExtraError as error:
        print(error)
"""


def test_a_missing_library_is_told_beforehand_and_at_the_call_with_the_command_that_installs_it() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_LIBRARY], capture_output=True, text=True, check=True)
    beforehand, call, registration = done.stdout.splitlines()
    assert beforehand == "W_MCP_UNAVAILABLE mcp_servers.s Run: pip install 'kneo-serv[mcp]'"
    assert call == registration
    assert call.endswith("Install it: pip install 'kneo-serv[mcp]'")


def test_the_library_is_not_imported_before_the_first_call() -> None:
    program = (
        "import sys, kneo_serv.tools.mcp, kneo_serv.platform\n"
        "print(*{'mcp', 'mcp_types', 'httpx2', 'anyio'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_definitions_of_a_registry_need_no_server() -> None:
    registry = ToolRegistry()
    registry.register(ToolDefinition("local", "Of the registry."), lambda args: "here")
    toolbox = Toolbox({}, registry, pool=HandlerPool(size=1))
    assert [each.name for each in asyncio.run(toolbox.described(["local"]))] == ["local"]

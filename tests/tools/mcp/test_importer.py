"""Tools of MCP servers in a registry: for scripts, and for clients of their own."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, LoopMisuseError, ToolError
from kneo_serv.model.plan import McpServerPlan
from kneo_serv.runtime.retry import RetryPolicy
from kneo_serv.tools import HandlerPool, MCPToolImporter, ToolDefinition, ToolRegistry, import_mcp_tools
from kneo_serv.tools.mcp import MCPClientProtocol, MCPToolSpec, build_lazy_mcp_handler, shutdown_mcp_session_hosts
from tests.tools.mcp.servers import HERE, gone, run, serving, stdio

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
MCP_ECHO = ToolDefinition("echo", "Of a server.")


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    shutdown_mcp_session_hosts()


class Client:
    """A client of one's own, with two tools, that fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def list_tools(self) -> Any:
        return [
            {"name": "echo", "description": "Says it back.", "inputSchema": SCHEMA},
            MCPToolSpec("fail", "Says no.", {}),
        ]

    def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((name, arguments))
        if self.failures:
            self.failures -= 1
            raise ConnectionError("gone")
        if name == "fail":
            return {"content": [{"type": "text", "text": "no"}], "isError": True}
        return {"content": [{"type": "text", "text": arguments["text"]}]}


class AsyncClient(Client):
    async def list_tools(self) -> Any:
        @dataclass
        class Listed:
            tools: list[Any]

        return Listed(super().list_tools())

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        return super().call_tool(name, arguments)


def test_a_registry_takes_every_tool_of_a_server_that_it_starts() -> None:
    registry = ToolRegistry()
    definitions = registry.register_mcp_server(stdio(), prefix="probe_")
    assert "probe_echo" in [each.name for each in definitions]
    assert registry.definition("probe_echo").description == "Says it back."
    assert registry.definition("probe_echo").parameters["required"] == ["text"]
    assert registry.call("probe_echo", {"text": "tea"}).result == "tea"
    first, second = (registry.call("probe_pid", {}).result for _ in range(2))
    assert first == second
    with pytest.raises(ToolError, match="no tea"):
        registry.call("probe_fail", {"reason": "no tea"})


def test_registered_tools_are_called_from_any_loop_and_cancelled_with_their_caller(tmp_path: Any) -> None:
    registry = ToolRegistry()
    marker = tmp_path / "began"

    async def scenario() -> None:
        await asyncio.to_thread(registry.register_mcp_server, stdio())
        answers = await asyncio.gather(*(registry.acall("together", {"others": 5}) for _ in range(5)))
        assert {each.result for each in answers} == {"met"}
        with pytest.raises(TimeoutError):
            await registry.acall("slow", {"marker": str(marker)}, timeout=0.3)
        assert (await registry.acall("echo", {"text": "on"})).result == "on"

    run(scenario())


def test_a_blocking_call_inside_a_running_loop_is_refused_with_what_to_write() -> None:
    registry = ToolRegistry()
    importer = MCPToolImporter(client=Client())

    async def scenario() -> None:
        with pytest.raises(LoopMisuseError, match="an event loop runs in this thread"):
            registry.register_mcp_server(stdio())
        with pytest.raises(LoopMisuseError, match=r"await importer\.adiscover\(\)"):
            importer.discover()
        with pytest.raises(LoopMisuseError, match=r"asyncio\.to_thread\(shutdown_mcp_session_hosts\)"):
            shutdown_mcp_session_hosts()
        assert [each.name for each in await importer.adiscover()] == ["echo", "fail"]
        assert [each.name for each in await importer.aregister_all(registry)] == ["echo", "fail"]
        found = await MCPToolImporter(client=stdio(), server_name="probe").adiscover()
        assert {each.server_name for each in found} == {"probe"}

    run(scenario())


def test_shutting_down_ends_the_processes_and_the_next_call_starts_a_fresh_one() -> None:
    registry = ToolRegistry()
    registry.register_mcp_server(stdio())
    pid = int(registry.call("pid", {}).result)
    shutdown_mcp_session_hosts()
    assert gone(pid)
    assert int(registry.call("pid", {}).result) != pid


def test_a_lazy_handler_opens_nothing_before_its_first_call() -> None:
    registry = ToolRegistry()
    handler = build_lazy_mcp_handler({"transport": "stdio", "command": "no-such-command"}, remote_name="echo")
    registry.register(MCP_ECHO, handler)
    with pytest.raises(ToolError, match="MCP server 'no-such-command' cannot be used: its command"):
        registry.call("echo", {"text": ""})
    with pytest.raises(InvalidRequestError, match="needs `command`"):
        build_lazy_mcp_handler({"transport": "stdio"}, remote_name="echo")
    with serving("http") as server:
        plan = McpServerPlan("http", {"url": server["url"]})
        registry.register(MCP_ECHO, build_lazy_mcp_handler(plan, remote_name="echo", server_name="docs"))
        assert registry.call("echo", {"text": "tea"}).result == "tea"


def test_a_handler_with_a_retry_policy_makes_a_lost_call_again(tmp_path: Any) -> None:
    server = stdio(env={"PROBE_ATTEMPTS": str(tmp_path / "attempts")})
    registry = ToolRegistry()
    registry.register(MCP_ECHO, build_lazy_mcp_handler(server, remote_name="die_once", retry_policy=RetryPolicy(1)))
    assert registry.call("echo", {}).result == "survived"


def test_a_retry_policy_bounds_the_time_of_a_call(tmp_path: Any) -> None:
    registry = ToolRegistry()
    policy = RetryPolicy(timeout_seconds=0.3)
    registry.register(MCP_ECHO, build_lazy_mcp_handler(stdio(), remote_name="slow", retry_policy=policy))
    with pytest.raises(TimeoutError, match=r"longer than 0\.3 s"):
        registry.call("echo", {"marker": str(tmp_path / "m")})


@pytest.mark.parametrize("client", [Client(), AsyncClient()])
def test_a_client_of_ones_own_is_imported_whether_sync_or_async(client: Client) -> None:
    assert isinstance(client, MCPClientProtocol)
    registry = ToolRegistry()
    definitions = import_mcp_tools(client=client, registry=registry, server_name="own", name_prefix="own_")
    assert [(each.name, each.description) for each in definitions] == [
        ("own_echo", "Says it back."),
        ("own_fail", "Says no."),
    ]
    assert registry.definition("own_echo").parameters == SCHEMA
    assert registry.call("own_echo", {"text": "tea"}).result == "tea"
    assert client.calls == [("echo", {"text": "tea"})]
    assert asyncio.run(registry.acall("own_echo", {"text": "two"}, pool=HandlerPool(size=1))).result == "two"
    with pytest.raises(ToolError, match=r"^no$"):
        registry.call("own_fail", {})


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_of_ones_own_is_asked_again_as_its_policy_says(kind: type[Client]) -> None:
    patient, plain = kind(failures=2), kind(failures=1)
    registry = ToolRegistry()
    import_mcp_tools(client=patient, registry=registry, retry_policy=RetryPolicy(max_retries=2))
    assert registry.call("echo", {"text": "third"}).result == "third"
    assert len(patient.calls) == 3
    with pytest.raises(ToolError):
        registry.call("fail", {})
    assert len(patient.calls) == 4
    import_mcp_tools(client=plain, registry=registry)
    with pytest.raises(ConnectionError):
        registry.call("echo", {"text": "once"})


def test_the_spec_of_a_tool_names_its_server_and_keeps_what_was_said() -> None:
    (echo, fail) = MCPToolImporter(client=Client(), server_name="own").discover()
    assert echo == MCPToolSpec("echo", "Says it back.", SCHEMA, "own", echo.raw)
    assert echo.raw["description"] == "Says it back."
    assert fail.server_name == "own"

    class Wrong(Client):
        def list_tools(self) -> Any:
            return [7]

    with pytest.raises(ToolError, match="listed a int, which does not describe a tool"):
        MCPToolImporter(client=Wrong()).discover()


def test_a_script_that_registered_a_server_ends_by_itself() -> None:
    program = (
        "from kneo_serv.tools import ToolRegistry\n"
        "from tests.tools.mcp.servers import stdio\n"
        "registry = ToolRegistry()\n"
        "registry.register_mcp_server(stdio())\n"
        "print(registry.call('pid', {}).result)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=HERE.parents[2], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert int(done.stdout) > 0

"""Sessions with real servers: shared, cancelled, lost and opened anew."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kneo_serv.errors import (
    InvalidRequestError,
    PlatformClosedError,
    StepTimeoutError,
    ToolError,
    ToolOutcomeUnknownError,
)
from tests.tools.mcp.servers import HERE, address, dead, gone, pool, run, serving, stdio, until


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


MODES = ("stdio", "http", "json", "sse")


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, dict[str, Any]]]:
    with serving("http") as http, serving("json") as json, serving("sse") as sse:
        yield {"stdio": stdio(), "http": http, "json": json, "sse": sse}


@pytest.fixture(params=MODES)
def server(request: pytest.FixtureRequest, addresses: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return addresses[request.param]


def test_a_server_lists_its_tools_and_answers_calls(server: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            tools = await servers.tools("probe", server)
            assert tools["echo"].description == "Says it back."
            assert tools["echo"].input_schema["required"] == ["text"]
            assert await servers.call("probe", server, "echo", {"text": "tea ☕"}) == "tea ☕"
            assert await servers.call("probe", server, "picture", {}) == "A dot:\n[image image/png, 3 bytes]"

    run(scenario())


def test_an_error_of_a_tool_is_told_and_the_session_goes_on(server: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            with pytest.raises(ToolError, match=r"^Error executing tool fail: no tea left$"):
                await servers.call("probe", server, "fail", {"reason": "no tea left"})
            with pytest.raises(ToolError, match="Unknown tool: nope"):
                await servers.call("probe", server, "nope", {})
            assert await servers.call("probe", server, "echo", {"text": "on"}) == "on"

    run(scenario())


def test_an_answer_over_the_bound_is_refused_without_its_content_and_the_session_goes_on(
    server: dict[str, Any],
) -> None:
    async def scenario() -> None:
        # Of a server that we start, the bound is that of the platform; a service has one of its own.
        bounded = server if server["transport"] == "stdio" else {**server, "max_response_bytes": 20_000}
        async with pool(max_response_bytes=20_000 if bounded is server else 10**9) as servers:
            pid = await servers.call("probe", bounded, "pid", {})
            with pytest.raises(ToolError, match="the answer has more than 20000 bytes") as caught:
                await servers.call("probe", bounded, "big", {"size": 500_000})
            assert len(str(caught.value)) < 200
            assert "xxx" not in str(caught.value)
            assert await servers.call("probe", bounded, "pid", {}) == pid

    run(scenario())


def test_twenty_calls_run_at_once_on_one_session(server: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            calls = [servers.call("probe", server, "together", {"others": 20}) for _ in range(20)]
            assert set(await asyncio.gather(*calls)) == {"met"}

    run(scenario())


@pytest.mark.parametrize("mode", ["stdio", "http", "sse"])
def test_a_cancelled_caller_cancels_its_call_and_nothing_else(
    addresses: dict[str, dict[str, Any]], mode: str, tmp_path: Path
) -> None:
    server, marker = addresses[mode], tmp_path / "began"

    async def scenario() -> None:
        async with pool() as servers:
            pid = await servers.call("probe", server, "pid", {})
            slow = asyncio.create_task(servers.call("probe", server, "slow", {"marker": str(marker)}))
            other = asyncio.create_task(servers.call("probe", server, "slow", {"marker": f"{marker}2"}))
            await until(lambda: marker.exists() and Path(f"{marker}2").exists())
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            await until(Path(f"{marker}.cancelled").exists)
            assert not other.done()
            assert [path.name for path in files(tmp_path)] == ["began", "began.cancelled", "began2"]
            assert await servers.call("probe", server, "pid", {}) == pid
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)

    run(scenario())


def test_a_call_that_takes_too_long_is_cancelled_over_there(server: dict[str, Any], tmp_path: Path) -> None:
    marker = tmp_path / "began"

    async def scenario() -> None:
        async with pool() as servers:
            await servers.call("probe", server, "echo", {"text": "open"})
            with pytest.raises(StepTimeoutError, match=r"'probe': the call of its tool 'slow' took longer than 0\.5 s"):
                await servers.call("probe", server, "slow", {"marker": str(marker)}, limit=0.5)
            assert await servers.call("probe", server, "echo", {"text": "on"}) == "on"

    run(scenario())


def test_a_call_whose_session_does_not_open_in_time_is_not_in_doubt() -> None:
    silent = stdio(script=str(HERE / "odd_server.py"), args=("silent",))

    async def scenario() -> None:
        async with pool() as servers:
            with pytest.raises(ToolError, match=r"longer than 0\.2 s\. It was not begun") as caught:
                await servers.call("probe", silent, "large", {}, timeout=0.2)
            assert not isinstance(caught.value, StepTimeoutError)
            with pytest.raises(ToolError, match=r"the question for its tools took longer than 0\.2 s") as caught:
                await servers.tools("probe", silent, timeout=0.2)
            assert not isinstance(caught.value, StepTimeoutError)

    run(scenario())


def test_what_is_asked_right_before_a_call_can_stop_it(addresses: dict[str, dict[str, Any]]) -> None:
    entries = []

    def refuse() -> None:
        entries.append("asked")
        raise PermissionError("the lease is lost")

    async def scenario() -> None:
        async with pool() as servers:
            with pytest.raises(PermissionError, match="the lease is lost"):
                await servers.call("probe", addresses["http"], "die", {}, entry=refuse)
            assert await servers.call("probe", addresses["http"], "echo", {"text": "alive"}) == "alive"

    run(scenario())
    assert entries == ["asked"]


def test_the_time_limit_of_the_server_holds_where_the_call_has_none(addresses: dict[str, dict[str, Any]]) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            hasty = {**addresses["http"], "timeout": 0.25}
            with pytest.raises(StepTimeoutError, match=r"longer than 0\.25 s"):
                await servers.call("probe", hasty, "together", {"others": 99})

    run(scenario())


def test_a_server_killed_in_mid_call_fails_the_call_and_the_next_one_gets_a_fresh_process(tmp_path: Path) -> None:
    marker = tmp_path / "began"

    async def scenario() -> None:
        async with pool() as servers:
            pid = int(await servers.call("probe", stdio(), "pid", {}))
            calls = [servers.call("probe", stdio(), "slow", {"marker": f"{marker}{n}"}) for n in range(3)]
            tasks = [asyncio.create_task(call) for call in calls]
            await until(lambda: all(Path(f"{marker}{n}").exists() for n in range(3)))
            os.kill(pid, signal.SIGKILL)
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(outcome, ToolOutcomeUnknownError)
                assert str(outcome) == (
                    "MCP server 'probe' ended during the call of its tool 'slow': its process was ended by SIGKILL. "
                    "Whether it was done is not known."
                )
            assert int(await servers.call("probe", stdio(), "pid", {})) != pid
            assert gone(pid)

    run(scenario())


@pytest.mark.parametrize("mode", ["http", "json", "sse"])
def test_a_service_that_is_killed_in_mid_call_is_reached_again_when_it_is_back(mode: str) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            with serving(mode) as server:
                port = urlsplit(server.get("url") or server["sse_url"]).port or 0
                await servers.call("probe", server, "echo", {"text": "open"})
                with pytest.raises(ToolError, match=r"'probe' ended during the call of its tool 'die': .+ not known"):
                    await servers.call("probe", server, "die", {})
                with pytest.raises(ToolError, match=r"'probe' cannot be used: http://127\.0\.0\.1:\d+/\w+ does not"):
                    await servers.call("probe", server, "echo", {"text": "gone"})
            with serving(mode, port) as server:
                assert server == address(mode, port)
                assert await servers.call("probe", server, "echo", {"text": "back"}) == "back"

    run(scenario())


def test_a_lost_call_is_made_again_only_where_that_is_declared_and_asked_for(tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"
    server = stdio(env={"PROBE_ATTEMPTS": str(attempts)})

    async def scenario() -> None:
        async with pool(retries=2, backoff_seconds=0) as servers:
            with pytest.raises(ToolError, match="ended during"):
                await servers.call("probe", server, "die_once", {})
            assert attempts.read_text() == "x"
            attempts.unlink()
            assert await servers.call("probe", server, "die_once", {}, repeatable=True) == "survived"
            assert attempts.read_text() == "xx"
        attempts.unlink()
        async with pool() as servers:
            with pytest.raises(ToolError, match="ended during"):
                await servers.call("probe", server, "die_once", {}, repeatable=True)
            assert attempts.read_text() == "x"

    run(scenario())


def test_a_server_that_cannot_be_started_is_tried_again_as_often_as_the_settings_say(tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"
    server = stdio(args=("never",), env={"PROBE_ATTEMPTS": str(attempts)})

    async def scenario() -> None:
        async with pool(retries=2, backoff_seconds=0) as servers:
            with pytest.raises(ToolError, match="'probe' cannot be used: its process ended with exit code 3"):
                await servers.call("probe", server, "echo", {"text": ""})

    run(scenario())
    assert attempts.read_text() == "xxx"


def test_equal_configs_share_a_session_whatever_the_server_is_called() -> None:
    async def scenario() -> None:
        async with pool() as servers:
            first = await servers.call("one", stdio(), "pid", {})
            assert await servers.call("two", stdio(), "pid", {}) == first
            assert await servers.call("one", stdio(env={"OTHER": "1"}), "pid", {}) != first

    run(scenario())


def test_callers_that_come_at_once_open_one_session_and_a_cancelled_one_does_not_close_it() -> None:
    async def scenario() -> None:
        async with pool() as servers:
            first = asyncio.create_task(servers.call("probe", stdio(), "pid", {}))
            others = [asyncio.create_task(servers.call("probe", stdio(), "pid", {})) for _ in range(3)]
            await asyncio.sleep(0)
            first.cancel()
            pids = await asyncio.gather(*others)
            assert pids == [pids[0]] * 3

    run(scenario())


def test_a_session_that_nobody_uses_is_closed_and_opened_anew_when_somebody_does() -> None:
    async def scenario() -> None:
        async with pool(idle_seconds=0.05) as servers:
            pid = int(await servers.call("probe", stdio(), "pid", {}))
            await until(lambda: gone(pid))
            assert int(await servers.call("probe", stdio(), "pid", {})) != pid

    run(scenario())


def test_a_session_in_use_is_not_idle() -> None:
    async def scenario() -> None:
        async with pool(idle_seconds=0) as servers:
            calls = [servers.call("probe", stdio(), "together", {"others": 2}) for _ in range(2)]
            assert await asyncio.gather(*calls) == ["met", "met"]

    run(scenario())


def test_closing_leaves_no_process_behind_and_refuses_further_calls(tmp_path: Path) -> None:
    marker = tmp_path / "began"

    async def scenario() -> None:
        async with pool() as servers:
            pid = int(await servers.call("probe", stdio(), "pid", {}))
            child = int(await servers.call("probe", stdio(), "child", {}))
            slow = asyncio.create_task(servers.call("probe", stdio(), "slow", {"marker": str(marker)}))
            await until(marker.exists)
            await servers.close()
            assert gone(pid)
            await until(lambda: dead(child))
            with pytest.raises(ToolError, match="'probe' ended during the call of its tool 'slow'"):
                await slow
            with pytest.raises(PlatformClosedError):
                await servers.call("probe", stdio(), "pid", {})

    run(scenario())


def test_closing_kills_a_server_that_does_not_want_to_end() -> None:
    async def scenario() -> None:
        async with pool(closing_seconds=0.2) as servers:
            stubborn = stdio(args=("stubborn",))
            pid = int(await servers.call("probe", stubborn, "pid", {}))
            await servers.close()
            assert gone(pid)

    run(scenario())


def test_an_unknown_tool_of_a_plan_is_told_with_its_neighbours(addresses: dict[str, dict[str, Any]]) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            with pytest.raises(ToolError, match=r"MCP server 'probe' has no tool 'ecko'. Did you mean 'echo'\?"):
                await servers.tool("probe", addresses["http"], "ecko")
            assert (await servers.tool("probe", addresses["http"], "echo")).name == "echo"

    run(scenario())


def test_a_tool_that_a_server_offers_only_later_is_found() -> None:
    async def scenario() -> None:
        async with pool() as servers:
            before = await servers.tools("probe", stdio())
            assert "later" not in before
            await servers.call("probe", stdio(), "learn", {"name": "later"})
            assert (await servers.tool("probe", stdio(), "later")).name == "later"
            assert await servers.tools("probe", stdio()) == await servers.tools("probe", stdio(), outdated=before)

    run(scenario())


def test_secrets_of_the_config_and_arguments_of_calls_stand_in_no_log(
    server: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "c4nary-in-the-log"
    if server["transport"] == "stdio":
        server = {**server, "env": {"TOKEN": canary}}
    else:
        place = "url" if server["transport"] == "http" else "sse_url"
        server = {**server, place: f"{server[place]}?key={canary}", "headers": {"X-Key": canary}}

    async def scenario() -> None:
        async with pool() as servers:
            assert await servers.call("probe", server, "echo", {"text": canary}) == canary
            with pytest.raises(ToolError):
                await servers.call("probe", server, "fail", {"reason": canary})
            with pytest.raises(StepTimeoutError):
                await servers.call("probe", server, "slow", {"marker": str(tmp_path / canary)}, limit=0.2)

    with caplog.at_level(logging.DEBUG):
        run(scenario())
    assert canary not in caplog.text


def test_what_goes_along_with_a_call_arrives(server: dict[str, Any]) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def scenario() -> str:
        async with pool() as servers:
            return await servers.call("probe", server, "meta", {}, meta={"traceparent": trace})

    assert f"'traceparent': '{trace}'" in run(scenario())


def test_a_config_that_cannot_be_names_the_server() -> None:
    async def scenario() -> None:
        async with pool() as servers:
            with pytest.raises(InvalidRequestError, match=r"MCP server 'probe': .* needs `url`"):
                await servers.call("probe", {"transport": "http"}, "echo", {})

    run(scenario())

"""Servers that the platform starts itself."""

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kneo_serv.errors import ToolError
from tests.tools.mcp.servers import HERE, RUNNING, dead, pool, run, stdio, until

ODD = str(HERE / "odd_server.py")
CANARY = "s3cr3t-canary-value"


def test_a_server_gets_what_its_config_names_and_no_secret_of_ours() -> None:
    ours = {**RUNNING, "OPENAI_API_KEY": CANARY, "LANG": "C.UTF-8"}

    async def scenario() -> str:
        async with pool(environ=ours) as servers:
            return await servers.call("probe", stdio(env={"NAMED": "yes", "HOME": "/elsewhere"}), "environment", {})

    told = run(scenario())
    assert CANARY not in told
    assert "OPENAI_API_KEY" not in told
    assert '"NAMED": "yes"' in told.replace('":"', '": "')
    assert "/elsewhere" in told
    assert "C.UTF-8" in told


def test_a_server_works_in_its_folder(tmp_path: Path) -> None:
    async def scenario() -> str:
        async with pool() as servers:
            return await servers.call("probe", stdio(cwd=str(tmp_path)), "folder", {})

    assert run(scenario()) == str(tmp_path.resolve())


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ({"command": "no-such-command-anywhere"}, "its command 'no-such-command-anywhere' was not found"),
        ({"command": "./no/such/file"}, "its command './no/such/file' was not found"),
        ({"command": sys.executable, "cwd": "/no/such/folder"}, "its working folder 'folder' does not exist"),
        ({"command": "/etc/passwd"}, "its command '/etc/passwd' cannot be started: Permission denied"),
        ({"command": sys.executable, "args": ["-c", "exit(7)"]}, "its process ended with exit code 7"),
    ],
)
def test_a_server_that_cannot_be_started_is_told_with_its_reason(server: dict[str, object], reason: str) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            await servers.tools("files", {"transport": "stdio", **server})

    with pytest.raises(ToolError) as caught:
        run(scenario())
    assert str(caught.value).startswith(f"MCP server 'files' cannot be used: {reason}")


def test_what_a_server_said_before_it_failed_to_start_is_told_without_secrets() -> None:
    program = f"import sys; print('cannot open library', sys.argv[1], '{CANARY}', file=sys.stderr); exit(2)"

    async def scenario() -> None:
        async with pool() as servers:
            server = {"transport": "stdio", "command": sys.executable, "args": ["-c", program, "--key=" + CANARY]}
            await servers.tools("files", {**server, "env": {"KEY": CANARY}})

    with pytest.raises(
        ToolError, match=r"exit code 2; it said: cannot open library --key=\[REDACTED\] \[RED"
    ) as caught:
        run(scenario())
    assert CANARY not in str(caught.value)


def test_a_server_that_says_nothing_is_given_up_after_the_time_to_connect() -> None:
    async def scenario() -> None:
        async with pool(connect_seconds=0.3) as servers:
            await servers.tools("odd", stdio(script=ODD, args=("silent",)))

    with pytest.raises(ToolError, match=r"'odd' cannot be used: it did not answer within 0\.3 s"):
        run(scenario())


def test_a_server_that_logs_on_its_output_is_understood() -> None:
    async def scenario() -> str:
        async with pool(max_response_bytes=50_000) as servers:
            return await servers.call("odd", stdio(script=ODD, args=("chatty",)), "large", {"size": 5})

    assert run(scenario()) == "xxxxx"


def test_an_answer_over_the_bound_is_matched_to_its_question_also_by_an_id_at_its_end() -> None:
    async def scenario() -> None:
        async with pool(max_response_bytes=5_000) as servers:
            odd = stdio(script=ODD, args=("reversed",))
            with pytest.raises(ToolError, match="the answer has more than 5000 bytes"):
                await servers.call("odd", odd, "large", {"size": 1_000_000})
            assert await servers.call("odd", odd, "large", {"size": 3}) == "xxx"

    run(scenario())


def test_a_message_over_the_bound_that_answers_nobody_ends_the_session() -> None:
    async def scenario() -> None:
        async with pool(max_response_bytes=5_000) as servers:
            odd = stdio(script=ODD, args=("nameless",))
            with pytest.raises(ToolError, match=r"'odd' ended during .*: it sent a message of more than 5000 bytes"):
                await servers.call("odd", odd, "large", {"size": 1_000_000})
            assert await servers.call("odd", odd, "large", {"size": 3}) == "xxx"

    run(scenario())


def test_all_pages_of_a_list_of_tools_are_read() -> None:
    async def scenario() -> list[str]:
        async with pool() as servers:
            return list(await servers.tools("odd", stdio(script=ODD, args=("paged",))))

    assert run(scenario()) == ["one", "two"]


def test_the_error_output_goes_to_the_debug_log_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with pool() as servers:
            odd = stdio(script=ODD, args=("chatty",), env={"KEY": CANARY})
            await servers.call("odd", odd, "large", {"size": 1})
            await until(lambda: "KEY is" in caplog.text)

    with caplog.at_level(logging.DEBUG):
        run(scenario())
    said = [record for record in caplog.records if record.name == "kneo_serv.tools.mcp" and "says" in record.message]
    assert {record.levelno for record in said} == {logging.DEBUG}
    assert "odd: password=[REDACTED]" in caplog.text
    assert CANARY not in caplog.text
    assert "hunter2" not in caplog.text


SCRIPT = """
import asyncio, sys, threading
from tests.tools.mcp.servers import pool, stdio
started = threading.Event()
async def stay():
    async with pool() as servers:
        print(await servers.call("probe", stdio(), "pid", {}), await servers.call("probe", stdio(), "child", {}))
        sys.stdout.flush()
        started.set()
        await asyncio.sleep(3600)
threading.Thread(target=asyncio.run, args=(stay(),), daemon=True).start()
started.wait()
"""


def test_a_script_that_ends_without_closing_anything_leaves_no_process_behind() -> None:
    root = HERE.parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2, done.stderr

    async def scenario() -> None:
        await until(lambda: all(dead(pid) for pid in pids))

    asyncio.run(scenario())

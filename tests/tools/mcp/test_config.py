from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, SettingsError
from kneo_serv.model.plan import McpServerPlan
from kneo_serv.tools.mcp import McpOptions, ServerConfig

SECRETS = {
    "transport": "http",
    "url": "https://user:passw0rd@mcp.example/v1?api_key=in-the-query",
    "headers": {"Authorization": "Bearer t0ken-canary", "X-Short": "abc"},
}


def test_a_config_is_the_same_from_a_plan_and_from_a_mapping() -> None:
    config = {"command": "run-it", "args": ["x"], "env": {"B": "2", "A": "1"}}
    made = ServerConfig.of({"transport": "stdio", **config})
    assert made == ServerConfig.of(McpServerPlan("stdio", {**config, "args": ("x",), "env": {"A": "1", "B": "2"}}))
    assert hash(made) == hash(ServerConfig.of({"transport": "stdio", **config}))
    assert made.address == "run-it"


def test_no_text_form_of_a_config_holds_a_secret() -> None:
    config = ServerConfig.of(SECRETS)
    assert config.address == "https://mcp.example/v1"
    for secret in ("passw0rd", "in-the-query", "t0ken-canary"):
        assert secret not in repr(config)
        assert secret not in config.told(f"refused {secret} for https://user:{secret}@mcp.example?k={secret}!")
    assert config.told("abc is too short to be hidden,\n and texts stay in one line") == (
        "abc is too short to be hidden, and texts stay in one line"
    )
    assert len(config.told("x" * 10_000)) < 600


def test_secrets_of_the_environment_and_of_the_command_line_are_hidden() -> None:
    config = ServerConfig.of(
        {
            "transport": "stdio",
            "command": "run",
            "args": ["--api-key", "key-canary", "--token=tok-canary", "--verbose"],
            "env": {"DB_PASSWORD": "pw12", "LEVEL": "info", "ODD": "value-canary"},
        }
    )
    told = config.told("key-canary tok-canary pw12 info value-canary verbose")
    assert told == "[REDACTED] [REDACTED] [REDACTED] info [REDACTED] verbose"
    assert "canary" not in repr(config)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "one of stdio, http, sse"),
        ({"transport": "smoke"}, "one of stdio, http, sse"),
        ({"transport": "stdio"}, "needs `command`"),
        ({"transport": "http", "sse_url": "x"}, "needs `url`"),
        ({"transport": "sse", "url": "x"}, "needs `sse_url`"),
        ({"transport": "http", "url": "x", "header": {}}, "has no header"),
        ({"transport": "http", "url": "x", "headers": {"A": 1}}, "`headers` of an MCP server must be a mapping"),
        ({"transport": "http", "url": 7}, "`url` of an MCP server must be a text"),
        ({"transport": "http", "url": "x", "timeout": 0}, "`timeout` of an MCP server must be a number of seconds"),
        ({"transport": "http", "url": "x", "max_response_bytes": True}, "a whole number above 0"),
        ({"transport": "http", "url": "x", "verify": "no"}, "true or false"),
        ({"transport": "stdio", "command": "x", "args": "a b"}, "`args` of an MCP server must be a list of texts"),
        ({"transport": "stdio", "command": "x", "cwd": "a/../b"}, "a path without `~` and `..`"),
        ({"transport": "http", "url": "x", "ca_bundle": "~/ca.pem"}, "a path without `~` and `..`"),
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_is_refused_with_its_key(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ServerConfig.of(config)
    assert problem in str(caught.value)


def test_scripts_read_their_options_from_the_environment() -> None:
    assert McpOptions.from_env({"KNEO_SERV_MCP_RETRIES": " "}) == McpOptions()
    assert McpOptions.from_env(
        {
            "KNEO_SERV_MCP_RETRIES": "3",
            "KNEO_SERV_MCP_TIMEOUT_SECONDS": "1.5",
            "KNEO_SERV_MCP_CONNECT_TIMEOUT_SECONDS": "4",
            "KNEO_SERV_MCP_RETRY_BACKOFF_SECONDS": "0",
            "KNEO_SERV_MCP_IDLE_SECONDS": "9",
        }
    ) == McpOptions(retries=3, call_seconds=1.5, connect_seconds=4, backoff_seconds=0, idle_seconds=9)
    for value in ("many", "-1", "1.5"):
        with pytest.raises(SettingsError, match="KNEO_SERV_MCP_RETRIES: it must be a whole number from 0 up"):
            McpOptions.from_env({"KNEO_SERV_MCP_RETRIES": value})
    with pytest.raises(SettingsError, match="a number of seconds"):
        McpOptions.from_env({"KNEO_SERV_MCP_IDLE_SECONDS": "inf"})


def test_waits_before_repetitions_double_up_to_a_minute() -> None:
    options = McpOptions(backoff_seconds=0.5)
    assert [options.wait_seconds(number) for number in (1, 2, 3, 20)] == [0.5, 1.0, 2.0, 60.0]

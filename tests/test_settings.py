from pathlib import Path

import pytest

from kneo_serv.errors import SettingsError
from kneo_serv.settings import SETTINGS, Settings
from kneo_serv.tools.mcp import McpOptions


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.worker_lease_seconds == 30.0
    assert settings.provider_timeout_seconds == 120.0
    assert settings.provider_retries == 2
    assert settings.sqlite_synchronous == "FULL"


def test_an_empty_or_blank_variable_counts_as_unset() -> None:
    assert Settings.from_env({"KNEO_SERV_PROVIDER_RETRIES": "", "KNEO_SERV_TIMEKEEPER": "  "}) == Settings()


def test_values_are_read_by_their_type(tmp_path: Path) -> None:
    settings = Settings.from_env(
        {
            "KNEO_SERV_WORKER_CONCURRENCY": " 8 ",
            "KNEO_SERV_WORKER_IDLE_POLL_SECONDS": "0.25",
            "KNEO_SERV_TIMEKEEPER": "Off",
            "KNEO_SERV_WORKFLOW_RETRY_ON_TIMEOUT": "yes",
            "KNEO_SERV_SQLITE_SYNCHRONOUS": "normal",
            "KNEO_SERV_SPEC_ROOT": str(tmp_path),
            "KNEO_SERV_TOKEN_BUDGET": "1000",
            "KNEO_SERV_LOG_LEVEL": "debug",
        }
    )
    assert settings == Settings(
        worker_concurrency=8,
        worker_idle_poll_seconds=0.25,
        timekeeper=False,
        workflow_retry_on_timeout=True,
        sqlite_synchronous="NORMAL",
        spec_root=tmp_path.resolve(),
        token_budget=1000,
        log_level="DEBUG",
    )


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("KNEO_SERV_WORKER_CONCURRENCY", "-1", "a whole number from 0 to 1024"),
        ("KNEO_SERV_WORKER_CONCURRENCY", "abc", "a whole number from 0 to 1024"),
        ("KNEO_SERV_WORKER_CONCURRENCY", "1_0", "a whole number from 0 to 1024"),
        ("KNEO_SERV_WORKER_CONCURRENCY", "9" * 5000, "a whole number from 0 to 1024"),
        ("KNEO_SERV_WORKER_LEASE_SECONDS", "-1", "a number of seconds from 1 to 86400"),
        ("KNEO_SERV_WORKER_LEASE_SECONDS", "nan", "a number of seconds from 1 to 86400"),
        ("KNEO_SERV_WORKER_IDLE_POLL_SECONDS", "0", "a number of seconds above 0 and at most 3600"),
        ("KNEO_SERV_SHUTDOWN_TIMEOUT_SECONDS", "inf", "a number of seconds from 0 to 86400"),
        ("KNEO_SERV_TIMEKEEPER", "offf", "one of on, true, yes, 1, off, false, no, 0"),
        ("KNEO_SERV_TOKEN_BUDGET", "0", "a whole number from 1 to"),
        ("KNEO_SERV_TRACE_MAX_EVENTS", "-1", "a whole number from 0 to"),
        ("KNEO_SERV_SQLITE_SYNCHRONOUS", "OFF", "one of FULL, NORMAL"),
        ("KNEO_SERV_LOG_LEVEL", "LOUD", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("KNEO_SERV_SPEC_ROOT", "/no/such/folder", "a folder that exists"),
    ],
)
def test_a_bad_value_is_refused_with_its_variable_and_what_would_do(variable: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: value})
    assert caught.value.variable == variable
    assert str(caught.value).startswith(f"{variable}: '{value[:20]}")
    assert f"it must be {allowed}" in caught.value.problem
    assert len(str(caught.value)) < 300


def test_all_bad_values_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"KNEO_SERV_WORKER_CONCURRENCY": "no", "KNEO_SERV_PROVIDER_RETRIES": "-1"})
    assert "KNEO_SERV_WORKER_CONCURRENCY: 'no'" in str(caught.value)
    assert "KNEO_SERV_PROVIDER_RETRIES: '-1'" in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "POSTGRESQL"])
def test_the_address_of_postgresql_is_taken_and_never_shown(scheme: str) -> None:
    settings = Settings.from_env({"KNEO_SERV_DATABASE_URL": f"{scheme}://kneo:hunter2@db/kneo"})
    assert settings.database_url == f"{scheme}://kneo:hunter2@db/kneo"
    assert "hunter2" not in repr(settings)


def test_the_address_of_a_plugins_database_is_taken_and_never_shown() -> None:
    settings = Settings.from_env({"KNEO_SERV_DATABASE_URL": "mydb://kneo:hunter2@db/kneo"})
    assert settings.database_url == "mydb://kneo:hunter2@db/kneo"
    assert "hunter2" not in repr(settings)
    with pytest.raises(SettingsError, match="it must be an address such as postgresql://") as caught:
        Settings.from_env({"KNEO_SERV_DATABASE_URL": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["Embedded", "my dispatcher", "1"])
def test_a_dispatcher_is_named_by_a_word(name: str) -> None:
    assert Settings.from_env({"KNEO_SERV_DISPATCHER": "my-own_1"}).dispatcher == "my-own_1"
    with pytest.raises(SettingsError, match="it must be a word of lower-case letters"):
        Settings.from_env({"KNEO_SERV_DISPATCHER": name})


def test_every_setting_has_its_own_variable_and_a_meaning() -> None:
    assert len({setting.variable for setting in SETTINGS}) == len(SETTINGS)
    for setting in SETTINGS:
        assert setting.variable == f"KNEO_SERV_{setting.name.upper()}"
        assert setting.help.endswith(".")
        assert setting.allowed


def test_the_platform_works_by_the_settings() -> None:
    options = Settings.from_env(
        {"KNEO_SERV_QUEUE_MAX_ATTEMPTS": "7", "KNEO_SERV_WORKER_LEASE_SECONDS": "3", "KNEO_SERV_PATIENCE_SECONDS": "5"}
    ).platform_options()
    assert (options.max_takeovers, options.lease_seconds, options.patience_seconds) == (7, 3.0, 5.0)


def test_the_page_about_mcp_names_its_settings_and_their_defaults() -> None:
    page = (Path(__file__).parents[1] / "docs" / "mcp.md").read_text(encoding="utf-8")
    mine = [setting for setting in SETTINGS if setting.variable.startswith("KNEO_SERV_MCP_")]
    assert len(mine) == 5
    for setting in mine:
        assert f"| `{setting.variable}` | {setting.default:g} | {setting.help} |" in page


def test_the_platform_and_scripts_ask_mcp_servers_by_the_same_settings() -> None:
    environ = {
        "KNEO_SERV_MCP_CONNECT_TIMEOUT_SECONDS": "3",
        "KNEO_SERV_MCP_TIMEOUT_SECONDS": "4",
        "KNEO_SERV_MCP_RETRIES": "5",
        "KNEO_SERV_MCP_RETRY_BACKOFF_SECONDS": "6",
        "KNEO_SERV_MCP_IDLE_SECONDS": "7",
    }
    options = Settings.from_env(environ).platform_options().mcp
    assert options == McpOptions.from_env(environ) == McpOptions(3, 4, 5, 6, 7)
    assert Settings.from_env({}).platform_options().mcp == McpOptions()

"""Secrets in prompts, arguments, results, the environment and provider errors turn up in nothing that is shown."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.observe import TelemetryOptions
from kneo_serv.platform import PlatformManager
from kneo_serv.runtime import default_registry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.scripted_openai import Answer, ScriptedOpenAI, completion, error, text, tool_call
from kneo_serv.tools import ToolDefinition, ToolRegistry
from tests.platform.observed import Spans
from tests.platform.worlds import options

PROMPT = "sk-canaryinthepromptAbCdEf0123456789"
ARGUMENT = "canary-in-an-argument-7f3a"
BEARER = "Y2FuYXJ5LWluLWEtaGVhZGVyLTEyMzQ1Ng"
RESULT = "ghp_canaryInTheResultOfATool0123456789ab"
RAISED = "canary-in-an-exception-91c2"
KEY = "canary-key-of-the-environment-5d1e"
CANARIES = (PROMPT, ARGUMENT, BEARER, RESULT, RAISED, KEY)
ARGUMENTS = {"api_key": ARGUMENT, "note": f"Authorization: Bearer {BEARER}"}


def fetch(arguments: dict[str, Any]) -> str:
    return f"found {RESULT}"


def stumble(arguments: dict[str, Any]) -> str:
    raise RuntimeError(f"refused password={RAISED}")


def spec(base_url: str) -> dict[str, Any]:
    return {
        "version": "v1",
        "agent": {
            "name": "keeper",
            "system_prompt": f"Your key is {PROMPT}.",
            "model": {"provider": "openai", "name": "gpt-4o-mini", "base_url": base_url},
            "strategy": "react",
            "tools": ["fetch", "stumble"],
        },
        "workflow": {"type": "sequential", "steps": [{"id": "keep", "kind": "agent", "ref": "keeper"}]},
    }


def lived(path: Path, answers: list[Answer] | Callable[[dict[str, Any]], Answer], spans: Spans) -> dict[str, Any]:
    """All that a run shows of itself. Telemetry records contents too, so that redaction is what keeps them clean."""
    tools = ToolRegistry()
    for handler in (fetch, stumble):
        tools.register(ToolDefinition(handler.__name__, handler.__name__), handler)
    telemetry = TelemetryOptions(
        enabled=True, record_arguments=True, record_results=True, tracer_provider=spans.provider
    )
    with ScriptedOpenAI(answers) as server:
        manager = PlatformManager(
            compiler=SpecCompiler(
                runtime_registry=default_registry(environ={"OPENAI_API_KEY": KEY}, provider_retries=0),
                tool_registry=tools,
            ),
            run_state_store=SQLiteStore(path / "runs.sqlite"),
            options=options(telemetry=telemetry),
        )
        result = manager.run_from_spec(
            spec=spec(server.base_url), input_text=f"Use {PROMPT}", metadata={"token": ARGUMENT}, actor="tester"
        )
    shown = {
        "error": result.error and result.error.message,
        "view": manager.run_view(result.run_id),
        "trace": manager.get_trace(result.run_id),
        "checkpoints": [checkpoint.to_dict() for checkpoint in manager.list_checkpoints(result.run_id)],
        "replay": manager.replay_view(result.run_id),
        "audit": [str(event) for event in manager.list_audit_events()],
        "spans": [
            (
                span.name,
                dict(span.attributes or {}),
                span.status.description,
                [dict(e.attributes or {}) for e in span.events],
            )
            for span in spans.ended
        ],
    }
    manager.shutdown()
    shown["status"] = result.status
    return shown


def assert_clean(shown: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    for name, what in {**shown, "logs": caplog.text}.items():
        told = json.dumps(what, default=str)
        assert [canary for canary in CANARIES if canary in told] == [], name


def test_secrets_of_prompts_arguments_and_results_are_shown_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [tool_call("fetch", ARGUMENTS), tool_call("stumble", ARGUMENTS), text(f"It was {RESULT}.")]
    shown = lived(tmp_path, answers, Spans())
    assert shown["status"] == "completed"
    assert "[REDACTED" in json.dumps(shown["spans"], default=str)
    assert {event["type"] for event in shown["trace"]} >= {"tool_call_completed", "tool_call_failed"}
    assert_clean(shown, caplog)


@pytest.mark.parametrize("status", [400, 401, 500])
def test_what_a_provider_says_in_its_errors_shows_neither_key_nor_prompt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = error(status, message=f"key {KEY} refused; the prompt was: Your key is {PROMPT}")
    shown = lived(tmp_path, [answer], Spans())
    assert shown["status"] == "failed"
    assert shown["error"]
    assert_clean(shown, caplog)


def test_an_answer_that_cannot_be_read_shows_nothing_of_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = lived(tmp_path, [completion(f"<html>{KEY} {PROMPT}</html>")], Spans())
    assert shown["status"] == "failed"
    assert_clean(shown, caplog)

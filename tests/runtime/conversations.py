"""Requests that several tests of the runtimes ask."""

from collections.abc import Mapping
from typing import Any

from kneo_serv.model.message import Message, Role, ToolCall, TurnRequest
from kneo_serv.model.plan import AgentPlan, ModelPlan, RuntimePreferences
from kneo_serv.model.tool import ToolDefinition

WEB_SEARCH = ToolDefinition(
    "web_search",
    "Finds pages.",
    {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
)


def user(text: str) -> Message:
    return Message(Role.USER, text)


def assistant(text: str = "", *calls: ToolCall, raw: str | None = None) -> Message:
    return Message(Role.ASSISTANT, text, tool_calls=calls, raw=raw)


def tool(text: str, call_id: str = "call_1") -> Message:
    return Message(Role.TOOL, text, name="web_search", tool_call_id=call_id)


def asked(*messages: Message, tools: tuple[ToolDefinition, ...] = ()) -> TurnRequest:
    return TurnRequest("helper", messages, tools)


def openai_model(base_url: str | None = None, *, extra: Mapping[str, Any] | None = None, **fields: Any) -> ModelPlan:
    return ModelPlan("openai", "test-model", base_url=base_url, extra=extra or {}, **fields)


def agent(
    provider: str | None = None, *, name: str = "helper", preferences: RuntimePreferences = RuntimePreferences()
) -> AgentPlan:
    return AgentPlan(name, model=ModelPlan(provider, "some-model") if provider else None, runtime=preferences)

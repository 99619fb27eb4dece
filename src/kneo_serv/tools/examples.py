"""Four small tools for the tutorials: they need no key and no network, and answer the same every time."""

from typing import Any

from kneo_serv.model.tool import Effect, ToolDefinition
from kneo_serv.tools.registry import ToolRegistry


def register_example_tools(registry: ToolRegistry) -> None:
    """Adds compress_history, publish_report, summarize and web_search."""
    registry.add_checked(_takes("compress_history", "Shorten a conversation.", "text"), _compress_history)
    registry.add_checked(
        _takes("publish_report", "Publish a report.", "text", effect=Effect.KEYED),
        _publish_report,
    )
    registry.add_checked(_takes("summarize", "Summarize a text.", "text"), _summarize)
    registry.add_checked(_takes("web_search", "Search the web.", "query"), _web_search)


def _takes(name: str, description: str, argument: str, effect: Effect = Effect.IDEMPOTENT) -> ToolDefinition:
    parameters = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return ToolDefinition(name=name, description=description, parameters=parameters, effect=effect)


def _compress_history(args: dict[str, Any]) -> str:
    return f"[compressed] {args['text']}"


def _publish_report(args: dict[str, Any]) -> str:
    return f"Published: {args['text']}"


def _summarize(args: dict[str, Any]) -> str:
    return f"Summary: {args['text']}"


def _web_search(args: dict[str, Any]) -> str:
    return f"Search result for: {args['query']}"

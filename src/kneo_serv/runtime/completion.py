"""Chat completions as servers really send them."""

import json
from collections.abc import Mapping
from typing import Any


def completed(document: Mapping[str, Any], *, model_name: str) -> dict[str, Any]:
    """The same completion with what a server left out filled in.

    Servers that speak like OpenAI's omit ids, the object type, parts of the usage or the role, give tool calls no id
    of their own, or send arguments as an object and the content as parts instead of text.
    `choices` is empty when there is no answer in it.
    """
    usage = document.get("usage")
    return {
        **document,
        "id": document.get("id") or "",
        "object": "chat.completion",
        "created": document.get("created") or 0,
        "model": document.get("model") or model_name,
        "choices": [_choice(choice) for choice in document.get("choices") or () if isinstance(choice, Mapping)],
        "usage": _usage(usage) if isinstance(usage, Mapping) else None,
    }


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    message = dict(message) if isinstance(message, Mapping) else {}
    message["role"] = "assistant"
    if isinstance(parts := message.get("content"), list):
        message["content"] = "".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping)) or None
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = _tool_calls(calls)
    return {**choice, "index": choice.get("index") or 0, "message": message}


def _tool_calls(calls: Any) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    taken: set[str] = set()
    for position, call in enumerate(call for call in calls if isinstance(call, Mapping)):
        function = dict(call.get("function") or {})
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            function["arguments"] = "{}" if arguments is None else json.dumps(arguments)
        identity = str(call.get("id") or "")
        if not identity or identity in taken:
            identity = f"{identity or 'call'}_{position}"
        taken.add(identity)
        result.append({**call, "id": identity, "type": call.get("type") or "function", "function": function})
    return result


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    asked, answered = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return {
        **usage,
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": usage.get("total_tokens") or asked + answered,
    }

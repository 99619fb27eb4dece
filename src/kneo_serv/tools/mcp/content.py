"""What an MCP tool answered, as text."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kneo_serv.errors import ToolError

_ERROR_SHOWN = 2_000
"""Characters of a tool's own error text that a model is told."""


def answer_text(result: Mapping[str, Any], tool: str) -> str:
    """Text of a call's result in the protocol's own form (`content`, `structuredContent`, `isError`).

    Texts stand in lines of their own, and what is no text is a note, such as `[image image/png, 1234 bytes]`.
    Without a text, structured content is given as JSON.

    Raises:
        ToolError: the tool says that it failed; holds its text, cut after 2,000 characters.
    """
    parts = [part for part in result.get("content") or () if isinstance(part, Mapping)]
    shown = [text for part in parts for text in _part(part)]
    structured = result.get("structuredContent")
    if structured is not None and not any(_has_text(part) for part in parts):
        shown.insert(0, json.dumps(structured, ensure_ascii=False))
    text = "\n".join(shown)
    if result.get("isError"):
        cut = text if len(text) <= _ERROR_SHOWN else f"{text[:_ERROR_SHOWN]}..."
        raise ToolError(cut or f"Tool {tool!r} failed and gave no reason.")
    return text


def _has_text(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "text" or isinstance(_resource(part).get("text"), str)


def _part(part: Mapping[str, Any]) -> Iterable[str]:
    match part.get("type"):
        case "text":
            yield str(part.get("text", ""))
        case "image" | "audio" as kind:
            yield f"[{kind} {part.get('mimeType', 'of unknown type')}, {_size(part.get('data'))} bytes]"
        case "resource_link":
            yield f"[resource {_named(part)}]"
        case "resource":
            resource = _resource(part)
            if isinstance(resource.get("text"), str):
                yield f"[resource {_named(resource)}]"
                yield resource["text"]
            else:
                yield f"[resource {_named(resource)}, {_size(resource.get('blob'))} bytes]"
        case other:
            yield f"[{other}]"


def _resource(part: Mapping[str, Any]) -> Mapping[str, Any]:
    resource = part.get("resource")
    return resource if isinstance(resource, Mapping) else {}


def _named(resource: Mapping[str, Any]) -> str:
    kind = resource.get("mimeType")
    return f"{resource.get('uri', '')}, {kind}" if kind else str(resource.get("uri", ""))


def _size(data: Any) -> int:
    """Bytes behind a base64 text."""
    text = data if isinstance(data, str) else ""
    return len(text) * 3 // 4 - text[-2:].count("=")

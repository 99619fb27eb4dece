"""Chat completions that come piece by piece, as answers for ScriptedOpenAI."""

import json
from collections.abc import Mapping
from typing import Any

from kneo_serv.testing.scripted_openai import Answer

_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def streamed(*pieces: str) -> Answer:
    """The model says this, one piece after the other."""
    return _events(*({"content": piece} for piece in pieces), reason="stop")


def streamed_call(name: str, arguments: Mapping[str, Any], *, content: str = "") -> Answer:
    """The model says something, piece by piece, and wants one tool called."""
    function = {"name": name, "arguments": json.dumps(dict(arguments))}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    said = [{"content": content}] if content else []
    return _events(*said, {"tool_calls": [call]}, reason="tool_calls")


def broken_off(*pieces: str) -> Answer:
    """A stream that ends in the middle, with the error that the server sends in place of the rest."""
    return _events(*({"content": piece} for piece in pieces), reason=None)


def _events(*deltas: Mapping[str, Any], reason: str | None) -> Answer:
    chunks = [_chunk({"role": "assistant", "content": ""})]
    chunks += [_chunk(delta) for delta in deltas]
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    if reason is None:
        lines.append(f"data: {json.dumps({'error': {'message': 'The server is overloaded.'}})}\n\n")
    else:
        lines.append(f"data: {json.dumps(_chunk({}, reason))}\n\n")
        lines.append(f"data: {json.dumps({**_chunk({}), 'choices': [], 'usage': _USAGE})}\n\n")
        lines.append("data: [DONE]\n\n")
    return Answer("".join(lines), headers={"Content-Type": "text/event-stream"})


def _chunk(delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "scripted", "choices": [choice]}

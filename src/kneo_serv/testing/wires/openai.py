"""OpenAI's two wire formats: chat completions, which many others speak as well, and responses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kneo_serv.testing.answers import Spoken, Wish
from kneo_serv.testing.wires.wire import MODEL, Complaint, halves, server_sent


@dataclass(frozen=True, slots=True)
class ChatWire:
    """Chat completions."""

    base_path: str = "/v1"
    stream_type: str = "text/event-stream"
    expected: str = "/v1/chat/completions"
    whole_arguments: bool = False
    """Arguments of a tool come in one event with its name (Mistral), rather than bit by bit."""

    def answers(self, path: str) -> bool:
        """Servers put it under paths of their own."""
        return path.endswith("/chat/completions")

    def streams(self, path: str, request: Mapping[str, Any]) -> bool:
        """By a field of the request."""
        return bool(request.get("stream"))

    def whole(self, spoken: Spoken) -> dict[str, Any]:
        """A `chat.completion`."""
        message: dict[str, Any] = {"role": "assistant", "content": spoken.text}
        if spoken.wishes:
            message["tool_calls"] = [
                {"id": wish.id, "type": "function", "function": {"name": wish.name, "arguments": wish.arguments_text}}
                for wish in spoken.wishes
            ]
        choice = {"index": 0, "message": message, "finish_reason": self._finish(spoken)}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage(spoken)}

    def events(self, spoken: Spoken) -> Iterator[bytes]:
        """`chat.completion.chunk`s, the usage in one of its own, and `[DONE]`."""
        yield self._chunk({"role": "assistant", "content": ""})
        for piece in spoken.pieces:
            yield self._chunk({"content": piece})
        for index, wish in enumerate(spoken.wishes):
            first, *others = [wish.arguments_text] if self.whole_arguments else ["", *halves(wish.arguments_text)]
            function = {"name": wish.name, "arguments": first}
            yield self._chunk(
                {"tool_calls": [{"index": index, "id": wish.id, "type": "function", "function": function}]}
            )
            for part in others:
                yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        yield self._chunk({}, finish=self._finish(spoken))
        usage = self._usage(spoken)
        # Groq tells it in a field of its own.
        last = {"choices": [], "usage": usage, "x_groq": {"id": "req_scripted", "usage": usage}}
        yield server_sent({**self._head("chat.completion.chunk"), **last})
        yield server_sent("[DONE]")

    def complaint(self, status: int, message: str) -> Complaint:
        """The message and its type."""
        return Complaint({"error": {"message": message, "type": "scripted", "code": None}})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-scripted", "object": kind, "created": 0, "model": MODEL}

    def _chunk(self, delta: Mapping[str, Any], *, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return server_sent({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _finish(self, spoken: Spoken) -> str:
        return "tool_calls" if spoken.wishes else "stop"

    def _usage(self, spoken: Spoken) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "prompt_tokens": spoken.input_tokens,
            "completion_tokens": spoken.output_tokens,
            "total_tokens": spoken.input_tokens + spoken.output_tokens,
        }
        if spoken.cached_tokens:
            usage["prompt_tokens_details"] = {"cached_tokens": spoken.cached_tokens}
        return usage


class ResponsesWire:
    """The responses API."""

    base_path = "/v1"
    stream_type = "text/event-stream"
    expected = "/v1/responses"

    def answers(self, path: str) -> bool:
        """One path."""
        return path.endswith("/responses")

    def streams(self, path: str, request: Mapping[str, Any]) -> bool:
        """By a field of the request."""
        return bool(request.get("stream"))

    def whole(self, spoken: Spoken) -> dict[str, Any]:
        """A `response` with its output items."""
        output = [self._message(spoken.text)] if spoken.text else []
        return self._response([*output, *map(self._call, spoken.wishes)], spoken)

    def events(self, spoken: Spoken) -> Iterator[bytes]:
        """The events from `response.created` to `response.completed`."""
        number = 0

        def event(kind: str, **fields: Any) -> bytes:
            nonlocal number
            number += 1
            return server_sent({"type": kind, "sequence_number": number, **fields}, event=kind)

        yield event("response.created", response={**self._response([], None), "status": "in_progress"})
        index = 0
        if spoken.text:
            place = {"item_id": "msg_scripted", "output_index": 0, "content_index": 0}
            opened = {**self._message(""), "status": "in_progress", "content": []}
            yield event("response.output_item.added", output_index=0, item=opened)
            yield event("response.content_part.added", part=self._part(""), **place)
            for piece in spoken.pieces:
                yield event("response.output_text.delta", delta=piece, logprobs=[], **place)
            yield event("response.output_text.done", text=spoken.text, logprobs=[], **place)
            yield event("response.content_part.done", part=self._part(spoken.text), **place)
            yield event("response.output_item.done", output_index=0, item=self._message(spoken.text))
            index = 1
        for wish in spoken.wishes:
            call = self._call(wish)
            place = {"item_id": call["id"], "output_index": index}
            yield event("response.output_item.added", output_index=index, item={**call, "arguments": ""})
            for part in halves(wish.arguments_text):
                yield event("response.function_call_arguments.delta", delta=part, **place)
            yield event("response.function_call_arguments.done", name=wish.name, arguments=wish.arguments_text, **place)
            yield event("response.output_item.done", output_index=index, item=call)
            index += 1
        yield event("response.completed", response=self.whole(spoken))

    def complaint(self, status: int, message: str) -> Complaint:
        """The message and its type."""
        return Complaint({"error": {"message": message, "type": "scripted", "code": None, "param": None}})

    def _response(self, output: list[dict[str, Any]], spoken: Spoken | None) -> dict[str, Any]:
        usage = spoken and {
            "input_tokens": spoken.input_tokens,
            "input_tokens_details": {"cached_tokens": spoken.cached_tokens},
            "output_tokens": spoken.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": spoken.input_tokens + spoken.output_tokens,
        }
        return {
            "id": "resp_scripted",
            "object": "response",
            "created_at": 0,
            "status": "completed",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": MODEL,
            "output": output,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": usage,
        }

    def _message(self, text: str) -> dict[str, Any]:
        return {
            "type": "message",
            "id": "msg_scripted",
            "status": "completed",
            "role": "assistant",
            "content": [self._part(text)],
        }

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _call(self, wish: Wish) -> dict[str, Any]:
        return {
            "type": "function_call",
            "id": f"fc_{wish.id}",
            "call_id": wish.id,
            "name": wish.name,
            "arguments": wish.arguments_text,
            "status": "completed",
        }

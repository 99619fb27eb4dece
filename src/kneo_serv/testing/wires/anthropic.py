"""Anthropic's wire format: messages."""

from collections.abc import Iterator, Mapping
from typing import Any

from kneo_serv.testing.answers import Spoken, Wish
from kneo_serv.testing.wires.wire import MODEL, Complaint, halves, server_sent

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class MessagesWire:
    """The messages API."""

    base_path = ""
    stream_type = "text/event-stream"
    expected = "/v1/messages"

    def answers(self, path: str) -> bool:
        """One path; beta features come with a query."""
        return path.partition("?")[0].endswith("/v1/messages")

    def streams(self, path: str, request: Mapping[str, Any]) -> bool:
        """By a field of the request."""
        return bool(request.get("stream"))

    def whole(self, spoken: Spoken) -> dict[str, Any]:
        """A `message` with its blocks."""
        blocks = [{"type": "text", "text": spoken.text}] if spoken.text else []
        blocks += [self._block(wish, wish.arguments_value) for wish in spoken.wishes]
        return {**self._head(spoken), "content": blocks, "stop_reason": self._stop(spoken)}

    def events(self, spoken: Spoken) -> Iterator[bytes]:
        """The events from `message_start` to `message_stop`."""
        yield self._event("message_start", message={**self._head(spoken), "content": [], "stop_reason": None})
        index = 0
        if spoken.text:
            yield self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})
            for piece in spoken.pieces:
                yield self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
            yield self._event("content_block_stop", index=0)
            index = 1
        for wish in spoken.wishes:
            yield self._event("content_block_start", index=index, content_block=self._block(wish, {}))
            for part in halves(wish.arguments_text):
                delta = {"type": "input_json_delta", "partial_json": part}
                yield self._event("content_block_delta", index=index, delta=delta)
            yield self._event("content_block_stop", index=index)
            index += 1
        end = {"stop_reason": self._stop(spoken), "stop_sequence": None}
        yield self._event("message_delta", delta=end, usage={"output_tokens": spoken.output_tokens})
        yield self._event("message_stop")

    def complaint(self, status: int, message: str) -> Complaint:
        """The message and a type that goes with the status."""
        return Complaint({"type": "error", "error": {"type": _KINDS.get(status, "api_error"), "message": message}})

    def _event(self, kind: str, **fields: Any) -> bytes:
        return server_sent({"type": kind, **fields}, event=kind)

    def _head(self, spoken: Spoken) -> dict[str, Any]:
        usage = {
            # Those from the cache are not among them here.
            "input_tokens": spoken.input_tokens - spoken.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": spoken.cached_tokens,
            "output_tokens": spoken.output_tokens,
        }
        head: dict[str, Any] = {"id": "msg_scripted", "type": "message", "role": "assistant", "model": MODEL}
        return {**head, "stop_sequence": None, "usage": usage}

    def _block(self, wish: Wish, arguments: Any) -> dict[str, Any]:
        return {"type": "tool_use", "id": wish.id, "name": wish.name, "input": arguments}

    def _stop(self, spoken: Spoken) -> str:
        return "tool_use" if spoken.wishes else "end_turn"

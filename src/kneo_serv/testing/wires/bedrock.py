"""Amazon Bedrock's wire format: Converse, whose streams are AWS event streams."""

import json
from collections.abc import Iterator, Mapping
from struct import pack
from typing import Any
from zlib import crc32

from kneo_serv.testing.answers import Spoken, Wish
from kneo_serv.testing.wires.wire import Complaint, halves

_KINDS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
_STRING = 7
"""The type of a header's value in an AWS event stream."""


class ConverseWire:
    """Whole and streamed answers have a path each."""

    base_path = ""
    stream_type = "application/vnd.amazon.eventstream"
    expected = "/model/<model>/converse"

    def answers(self, path: str) -> bool:
        """Both paths, of any model."""
        return path.endswith(("/converse", "/converse-stream"))

    def streams(self, path: str, request: Mapping[str, Any]) -> bool:
        """By the path."""
        return path.endswith("/converse-stream")

    def whole(self, spoken: Spoken) -> dict[str, Any]:
        """A message with its blocks."""
        blocks: list[dict[str, Any]] = [{"text": spoken.text}] if spoken.text else []
        blocks += [{"toolUse": {**self._head(wish), "input": wish.arguments_value}} for wish in spoken.wishes]
        message = {"role": "assistant", "content": blocks}
        return {"output": {"message": message}, "stopReason": self._stop(spoken), **self._measured(spoken)}

    def events(self, spoken: Spoken) -> Iterator[bytes]:
        """The events from `messageStart` to `metadata`."""
        yield _event("messageStart", {"role": "assistant"})
        index = 0
        if spoken.text:
            for piece in spoken.pieces:
                yield _event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}})
            yield _event("contentBlockStop", {"contentBlockIndex": 0})
            index = 1
        for wish in spoken.wishes:
            yield _event("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": self._head(wish)}})
            for part in halves(wish.arguments_text):
                yield _event("contentBlockDelta", {"contentBlockIndex": index, "delta": {"toolUse": {"input": part}}})
            yield _event("contentBlockStop", {"contentBlockIndex": index})
            index += 1
        yield _event("messageStop", {"stopReason": self._stop(spoken)})
        yield _event("metadata", self._measured(spoken))

    def complaint(self, status: int, message: str) -> Complaint:
        """The message, and the type in a header."""
        return Complaint({"message": message}, {"x-amzn-ErrorType": _KINDS.get(status, "InternalServerException")})

    def _head(self, wish: Wish) -> dict[str, Any]:
        return {"toolUseId": wish.id, "name": wish.name}

    def _stop(self, spoken: Spoken) -> str:
        return "tool_use" if spoken.wishes else "end_turn"

    def _measured(self, spoken: Spoken) -> dict[str, Any]:
        usage = {
            # Those from the cache are not among them here.
            "inputTokens": spoken.input_tokens - spoken.cached_tokens,
            "outputTokens": spoken.output_tokens,
            "totalTokens": spoken.input_tokens + spoken.output_tokens,
        }
        if spoken.cached_tokens:
            usage["cacheReadInputTokens"] = spoken.cached_tokens
        return {"usage": usage, "metrics": {"latencyMs": 1}}


def _event(kind: str, data: Mapping[str, Any]) -> bytes:
    """One frame: lengths, checksum of these, headers, payload, checksum of all."""
    payload = json.dumps(data).encode()
    told = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(map(_header, told.items()))
    prelude = pack("!II", len(headers) + len(payload) + 16, len(headers))
    frame = prelude + pack("!I", crc32(prelude)) + headers + payload
    return frame + pack("!I", crc32(frame))


def _header(item: tuple[str, str]) -> bytes:
    name, value = (text.encode() for text in item)
    return pack("!B", len(name)) + name + pack("!BH", _STRING, len(value)) + value

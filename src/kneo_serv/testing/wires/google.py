"""Google's wire format: generateContent of the Gemini API."""

from collections.abc import Iterator, Mapping
from typing import Any

from kneo_serv.testing.answers import Spoken, Wish
from kneo_serv.testing.wires.wire import MODEL, Complaint, server_sent

_STATES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


class GeminiWire:
    """Whole and streamed answers have a path each.

    Arguments that are no JSON object have no form here; the model then breaks off with MALFORMED_FUNCTION_CALL.
    """

    base_path = ""
    stream_type = "text/event-stream"
    expected = "/v1beta/models/<model>:generateContent"

    def answers(self, path: str) -> bool:
        """Both paths, of any model."""
        return path.partition("?")[0].endswith((":generateContent", ":streamGenerateContent"))

    def streams(self, path: str, request: Mapping[str, Any]) -> bool:
        """By the path."""
        return ":streamGenerateContent" in path

    def whole(self, spoken: Spoken) -> dict[str, Any]:
        """One candidate with its parts."""
        texts = [{"text": spoken.text}] if spoken.text else []
        return self._answer([*texts, *self._calls(spoken)], spoken, finish=self._finish(spoken))

    def events(self, spoken: Spoken) -> Iterator[bytes]:
        """Candidates whose parts are to be put together."""
        for piece in spoken.pieces:
            yield server_sent(self._answer([{"text": piece}], spoken, finish=None))
        yield server_sent(self._answer(self._calls(spoken), spoken, finish=self._finish(spoken)))

    def complaint(self, status: int, message: str) -> Complaint:
        """Code, message and the state that goes with it."""
        return Complaint({"error": {"code": status, "message": message, "status": _STATES.get(status, "INTERNAL")}})

    def _calls(self, spoken: Spoken) -> list[dict[str, Any]]:
        if _malformed(spoken.wishes):
            return []
        return [
            {"functionCall": {"id": wish.id, "name": wish.name, "args": wish.arguments_value}} for wish in spoken.wishes
        ]

    def _finish(self, spoken: Spoken) -> str:
        return "MALFORMED_FUNCTION_CALL" if _malformed(spoken.wishes) else "STOP"

    def _answer(self, parts: list[dict[str, Any]], spoken: Spoken, *, finish: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"index": 0}
        if parts:
            candidate["content"] = {"role": "model", "parts": parts}
        if finish is not None:
            candidate["finishReason"] = finish
        usage = {
            "promptTokenCount": spoken.input_tokens,
            "candidatesTokenCount": spoken.output_tokens,
            "totalTokenCount": spoken.input_tokens + spoken.output_tokens,
        }
        if spoken.cached_tokens:
            usage["cachedContentTokenCount"] = spoken.cached_tokens
        head = {"modelVersion": MODEL, "responseId": "scripted"}
        return {**head, "candidates": [candidate], "usageMetadata": usage}


def _malformed(wishes: tuple[Wish, ...]) -> bool:
    return any(not isinstance(wish.arguments_value, dict) for wish in wishes)

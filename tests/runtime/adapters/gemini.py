"""A server on the loopback address that speaks just enough of the Gemini API for Google's own client."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

type Reply = Sequence[Mapping[str, Any]] | int | None
"""Chunks of an answer (one, where it does not stream), an HTTP status, or nothing until the server stops."""


def says(*pieces: str) -> Reply:
    """The model says this, piece by piece."""
    return [_chunk({"text": piece}, last=piece is pieces[-1]) for piece in pieces]


def calls(name: str, arguments: Mapping[str, Any], *, content: str = "") -> Reply:
    """The model says something and wants one tool called."""
    said = [_chunk({"text": content}, last=False)] if content else []
    return [*said, _chunk({"functionCall": {"name": name, "args": dict(arguments)}}, last=True)]


def withholds(reason: str) -> Reply:
    """The model's answer is held back for a reason such as SAFETY."""
    return [{"candidates": [{"finishReason": reason, "index": 0}], "modelVersion": "gemini-test"}]


class ScriptedGemini:
    """Gives the replies in order; each request that arrived stands in `requests`."""

    def __init__(self, replies: Sequence[Reply] | Callable[[Mapping[str, Any]], Reply], *, message: str = "") -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self._replies = replies
        self._message = message
        self._stopping = threading.Event()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
                script.keys.append(self.headers.get("x-goog-api-key"))
                script.requests.append(body)
                script._serve(self, body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
                """Tests stay quiet."""

        self._server = _Server(("127.0.0.1", 0), Handler)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler, body: Mapping[str, Any]) -> None:
        replies = self._replies
        reply = replies(body) if callable(replies) else replies[len(self.requests) - 1]
        if reply is None:
            self._stopping.wait()
            handler.close_connection = True
            return
        kind, status = "application/json", 200
        if isinstance(reply, int):
            status = reply
            text = json.dumps({"error": {"code": reply, "message": self._message, "status": "SCRIPTED"}})
        elif ":streamGenerateContent" in handler.path:
            kind, text = "text/event-stream", "".join(f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in reply)
        else:
            text = json.dumps(_whole(reply))
        payload = text.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(payload)))
        handler.end_headers()
        handler.wfile.write(payload)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests."""


def _chunk(part: Mapping[str, Any], *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [part]}, "index": 0}
    chunk: dict[str, Any] = {"candidates": [candidate], "modelVersion": "gemini-test"}
    if last:
        candidate["finishReason"] = "STOP"
        chunk["usageMetadata"] = {
            "promptTokenCount": 10,
            "candidatesTokenCount": 4,
            "thoughtsTokenCount": 1,
            "cachedContentTokenCount": 2,
            "totalTokenCount": 15,
        }
    return chunk


def _whole(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    parts = [part for chunk in chunks for part in chunk["candidates"][0].get("content", {}).get("parts", [])]
    whole = json.loads(json.dumps(chunks[-1]))
    if parts:
        whole["candidates"][0]["content"] = {"role": "model", "parts": parts}
    return dict(whole)

"""Servers on the loopback address that say what you tell them to, in the wire format of a provider."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from kneo_serv.testing.answers import Answer, Spoken, error
from kneo_serv.testing.wires import ChatWire, ConverseWire, GeminiWire, MessagesWire, ResponsesWire, Wire

type Script = Sequence[Answer] | Callable[[dict[str, Any]], Answer]


class ScriptedServer:
    """A provider of models for tests: no network beyond this machine, no key, no cost.

    Use one of its children (`ScriptedOpenAI`, `ScriptedAnthropic` and so on), or `scripted` for one by name.

    Answers are given in order, or by a function of the request's JSON. Requests beyond the end of the list get HTTP
    400, so a test that asks too often fails instead of hanging. It may be asked from many threads at once.
    """

    wire: Wire
    """How it speaks."""

    def __init__(self, answers: Script = ()) -> None:
        """Prepare the server; it listens from `__enter__` (or `start`) on."""
        self._answers = answers
        self._given = 0
        self._requests: list[dict[str, Any]] = []
        self._headers: list[dict[str, str]] = []
        self._paths: list[str] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def base_url(self) -> str:
        """The address for `base_url` or the provider's variable. Raises RuntimeError when it does not listen."""
        if self._server is None:
            name = type(self).__name__
            raise RuntimeError(f"{name} does not listen: use it as a context manager, or call start() first.")
        return f"http://127.0.0.1:{self._server.server_port}{self.wire.base_path}"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The JSON bodies that arrived so far, oldest first (a copy)."""
        with self._lock:
            return list(self._requests)

    @property
    def headers(self) -> list[dict[str, str]]:
        """The headers of these requests, with names in lower case (a copy)."""
        with self._lock:
            return list(self._headers)

    @property
    def paths(self) -> list[str]:
        """The paths of these requests (a copy)."""
        with self._lock:
            return list(self._paths)

    def start(self) -> Self:
        """Listen on a free loopback port."""
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script._serve(self, body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
                """Tests stay quiet."""

        self._stopping.clear()
        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="scripted-server", daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening. Answers that are being kept silent end as closed connections."""
        server, self._server = self._server, None
        if server is not None:
            self._stopping.set()
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        request, answer = self._answer(handler, body)
        with suppress(OSError):  # the client went away
            if answer.silent:
                self._stopping.wait()
                handler.close_connection = True
            elif answer.spoken is not None and self.wire.streams(handler.path, request):
                self._stream(handler, answer.spoken, answer.breaks_after)
            else:
                self._send(handler, answer)

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        body, headers = answer.body, {"Content-Type": "application/json", **answer.headers}
        if answer.spoken is not None:
            body = self.wire.whole(answer.spoken)
        elif answer.complaint is not None:
            complaint = self.wire.complaint(answer.status, answer.complaint)
            body, headers = complaint.body, {**headers, **complaint.headers}
        payload = (body if isinstance(body, str) else json.dumps(dict(body))).encode()
        handler.send_response(answer.status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(payload)))
        handler.end_headers()
        if answer.breaks_after is not None:
            payload = payload[: len(payload) // 2]
            handler.close_connection = True
        handler.wfile.write(payload)

    def _stream(self, handler: BaseHTTPRequestHandler, spoken: Spoken, breaks_after: int | None) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", self.wire.stream_type)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for number, event in enumerate(self.wire.events(spoken)):
            if number == breaks_after:
                handler.close_connection = True
                return
            handler.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[dict[str, Any], Answer]:
        if not self.wire.answers(handler.path):
            name = type(self).__name__
            return {}, error(404, message=f"{name} answers only POST {self.wire.expected}, not {handler.path}.")
        try:
            request: dict[str, Any] = json.loads(body)
        except ValueError:
            return {}, error(400, message="The body is no JSON.")
        with self._lock:
            self._requests.append(request)
            self._headers.append({name.lower(): value for name, value in handler.headers.items()})
            self._paths.append(handler.path)
            if callable(self._answers):
                chosen = self._answers
            elif self._given < len(self._answers):
                self._given += 1
                return request, self._answers[self._given - 1]
            else:
                return request, error(400, message=f"The script has only {len(self._answers)} answers.")
        try:
            return request, chosen(request)
        except Exception as problem:  # noqa: BLE001 - the script is the test's own code; its failure must show there
            return request, error(400, message=f"The script failed: {type(problem).__name__}: {problem}")


class ScriptedOpenAI(ScriptedServer):
    """An OpenAI-compatible server: chat completions, whole and streamed. Ollama speaks so too.

    ```python
    with ScriptedOpenAI([tool_call("web_search", {"query": "tea"}), text("Tea is a drink.")]) as server:
        ...  # model.extra.base_url: server.base_url
        assert len(server.requests) == 2
    ```
    """

    wire = ChatWire()


class ScriptedGroq(ScriptedServer):
    """A server that speaks like Groq: chat completions under a path that its client adds to the address."""

    wire = ChatWire(base_path="")


class ScriptedMistral(ScriptedServer):
    """A server that speaks like Mistral: chat completions under a path that its client adds to the address."""

    wire = ChatWire(base_path="", whole_arguments=True)


class ScriptedResponses(ScriptedServer):
    """A server that speaks like OpenAI's responses API, whole and streamed; provider `openai-responses`."""

    wire = ResponsesWire()


class ScriptedAnthropic(ScriptedServer):
    """A server that speaks like Anthropic's messages API, whole and streamed."""

    wire = MessagesWire()


class ScriptedGoogle(ScriptedServer):
    """A server that speaks like the Gemini API, whole and streamed."""

    wire = GeminiWire()


class ScriptedBedrock(ScriptedServer):
    """A server that speaks like Amazon Bedrock's Converse API, whole and streamed. It checks no signature."""

    wire = ConverseWire()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # many clients may knock at the same moment

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away before its answer was written is part of many tests, and no news."""


def scripted(provider: str, answers: Script = ()) -> ScriptedServer:
    """The server that speaks like a provider of this name. Raises KeyError for the dummy and for anything unknown."""
    return _SERVERS[provider](answers)


_SERVERS: Mapping[str, type[ScriptedServer]] = {
    "openai": ScriptedOpenAI,
    "openai-responses": ScriptedResponses,
    "anthropic": ScriptedAnthropic,
    "google": ScriptedGoogle,
    "groq": ScriptedGroq,
    "mistral": ScriptedMistral,
    "bedrock": ScriptedBedrock,
    "ollama": ScriptedOpenAI,
}

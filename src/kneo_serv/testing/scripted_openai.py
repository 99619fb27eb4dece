"""A chat completions server on the loopback address that says what you tell it to."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. Make it with `text`, `tool_call`, `tool_calls`, `completion`, `error` or `silence`."""

    body: Mapping[str, Any] | str = field(default_factory=dict)
    """Sent as JSON; a text is sent as it is."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False


type Script = Sequence[Answer] | Callable[[dict[str, Any]], Answer]


def text(content: str | None, *, input_tokens: int = 10, output_tokens: int = 5) -> Answer:
    """The model says this."""
    message = {"role": "assistant", "content": content}
    return _answered(message, "stop", input_tokens, output_tokens)


def tool_call(
    name: str, args: Mapping[str, Any] | str, *, call_id: str = "call_1", content: str | None = None
) -> Answer:
    """The model wants one tool called. Arguments given as text are sent as they are, valid JSON or not."""
    return tool_calls((call_id, name, args), content=content)


def tool_calls(
    *calls: tuple[str, str, Mapping[str, Any] | str],
    content: str | None = None,
    input_tokens: int = 10,
    output_tokens: int = 5,
) -> Answer:
    """The model wants several tools called in one turn; each is `(call_id, name, arguments)`."""
    wishes = [
        {
            "id": call_id,
            "type": "function",
            "function": {"name": name, "arguments": args if isinstance(args, str) else json.dumps(dict(args))},
        }
        for call_id, name, args in calls
    ]
    message = {"role": "assistant", "content": content, "tool_calls": wishes}
    return _answered(message, "tool_calls", input_tokens, output_tokens)


def completion(body: Mapping[str, Any] | str) -> Answer:
    """Exactly this JSON, or this text instead of any, for servers that differ from OpenAI's."""
    return Answer(body)


def error(status: int, retry_after: float | None = None, *, message: str = "scripted error") -> Answer:
    """An HTTP error, with a Retry-After header in seconds if one is given."""
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return Answer({"error": {"message": message, "type": "scripted", "code": None}}, status, headers)


def silence() -> Answer:
    """No answer at all until the server stops."""
    return Answer(silent=True)


class ScriptedOpenAI:
    """An OpenAI-compatible server for tests: no network beyond this machine, no key, no cost.

    ```python
    with ScriptedOpenAI([tool_call("web_search", {"query": "tea"}), text("Tea is a drink.")]) as server:
        ...  # model.extra.base_url: server.base_url
        assert len(server.requests) == 2
    ```

    Answers are given in order, or by a function of the request's JSON. Requests beyond the end of the list get HTTP
    400, so a test that asks too often fails instead of hanging. It may be asked from many threads at once.
    """

    def __init__(self, answers: Script = ()) -> None:
        """Prepare the server; it listens from `__enter__` (or `start`) on."""
        self._answers = answers
        self._given = 0
        self._requests: list[dict[str, Any]] = []
        self._headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def base_url(self) -> str:
        """The address for `base_url` or OPENAI_BASE_URL. Raises RuntimeError when the server does not listen."""
        if self._server is None:
            raise RuntimeError("ScriptedOpenAI does not listen: use it as a context manager, or call start() first.")
        return f"http://127.0.0.1:{self._server.server_port}/v1"

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
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="scripted-openai", daemon=True).start()
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
        answer = self._answer(handler, body)
        if answer.silent:
            self._stopping.wait()
            handler.close_connection = True
            return
        payload = (answer.body if isinstance(answer.body, str) else json.dumps(dict(answer.body))).encode()
        handler.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(payload)))
        handler.end_headers()
        handler.wfile.write(payload)

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        if handler.path != PATH:
            return error(404, message=f"ScriptedOpenAI answers only POST {PATH}, not {handler.path}.")
        try:
            request = json.loads(body)
        except ValueError:
            return error(400, message="The body is no JSON.")
        with self._lock:
            self._requests.append(request)
            self._headers.append({name.lower(): value for name, value in handler.headers.items()})
            if callable(self._answers):
                chosen = self._answers
            elif self._given < len(self._answers):
                self._given += 1
                return self._answers[self._given - 1]
            else:
                return error(400, message=f"The script has only {len(self._answers)} answers.")
        try:
            return chosen(request)
        except Exception as problem:  # noqa: BLE001 - the script is the test's own code; its failure must show there
            return error(400, message=f"The script failed: {type(problem).__name__}: {problem}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # many clients may knock at the same moment

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away before its answer was written is part of many tests, and no news."""


def _answered(message: Mapping[str, Any], finish_reason: str, input_tokens: int, output_tokens: int) -> Answer:
    return Answer(
        {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": 0,
            "model": "scripted",
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            "usage": {
                "prompt_tokens": input_tokens,
                "completion_tokens": output_tokens,
                "total_tokens": input_tokens + output_tokens,
            },
        }
    )

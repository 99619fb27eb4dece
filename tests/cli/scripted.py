"""A server that says what a test has written down, one answer after the other, over real sockets."""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Says:
    """One answer. `body` None lets the connection go without a word."""

    status: int = 200
    body: bytes | None = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, body: Any, status: int = 200, **headers: str) -> "Says":
        """An answer as a service gives it."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps(body).encode(), {"Content-Type": "application/json", **named})

    @classmethod
    def refusal(cls, status: int, code: str, message: str = "No.", /, **facts: Any) -> "Says":
        """A refusal in the envelope of the service; `headers` are its headers."""
        headers = facts.pop("headers", {})
        return cls.json({"detail": {"error": code, "message": message, **facts}}, status, **headers)

    @classmethod
    def html(cls, status: int) -> "Says":
        """What a proxy says."""
        return cls(status, b"<html><h1>Bad Gateway</h1></html>", {"Content-Type": "text/html; charset=utf-8"})


NOTHING = Says(body=None)
"""The connection is closed instead of an answer."""


@dataclass
class Asked:
    """What was asked for."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class Scripted:
    """Where the server is, what it was asked, and what it is still to say."""

    url: str
    answers: list[Says]
    asked: list[Asked] = field(default_factory=list)

    @property
    def keys(self) -> list[str | None]:
        """The idempotency keys of the requests."""
        return [one.headers.get("Idempotency-Key") for one in self.asked]


@contextlib.contextmanager
def scripted(*answers: Says) -> Iterator[Scripted]:
    """A server with these answers; the last one is said again and again."""
    told = Scripted("", list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            body = json.loads(content) if content else None
            told.asked.append(Asked(self.command, self.path, dict(self.headers.items()), body))
            said = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            self.close_connection = True
            if said.body is None:
                return
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(said.body)

        do_GET = do_POST = _answer  # noqa: N815 - so the library calls them

        def log_message(self, *words: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
